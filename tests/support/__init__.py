"""Fakes, servers and players that tests share."""
