"""Household tasks of ALFWorld: its real games, and new ones to order."""
