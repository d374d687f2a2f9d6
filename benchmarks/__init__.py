"""Comparison of agents: suites, runs, leaderboards, experiments and measurements of speed."""
