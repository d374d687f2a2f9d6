"""Experiments: each file states a question, runs it over seeds, and writes its table beside the command that made it."""
