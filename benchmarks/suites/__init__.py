"""Suites: frozen lists of tasks with a digest of each."""
