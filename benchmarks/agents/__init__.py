"""Agents that a benchmark runs: endpoints, local models, and Python classes."""
