"""Generation of tasks: floor plans, subgoals, and game files."""
