"""Rules of actions: preconditions, effects and answers."""
