"""Trainers for language-model policies on any `gymnasium.Env` whose observations and actions are strings.

Environments are reached by string (`gym.make(env_id, **env_kwargs)`); nothing here knows a domain. One algorithm is one
file (`sft.py`, `grpo.py`), read from top to bottom; what they share are pure functions and small rooms of their own.
"""
