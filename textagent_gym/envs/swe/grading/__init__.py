"""Grading of a repair: test runs in a sandbox, guards against cheats, and the report."""
