"""Generation of games: drafts, sampled quests, and games prepared ahead of time."""
