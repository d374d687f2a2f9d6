"""The world of a game: its state, descriptions, map, and grounding as a planning problem."""
