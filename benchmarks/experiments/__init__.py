"""Experiments: each file states a question, runs it over seeds, and writes its table."""
