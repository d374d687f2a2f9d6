"""Policies behind an HTTP endpoint for chat completions."""
