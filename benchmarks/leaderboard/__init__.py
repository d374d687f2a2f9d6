"""Leaderboards: verified entries, scores with intervals, and pages."""
