"""Where agents are compared: the demo now, suites and leaderboards to come."""
