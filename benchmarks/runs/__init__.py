"""Runs of a benchmark: playing, records, run folders, and verification by replay."""
