"""Shortest plans over states that are bit masks of facts; knows nothing of any domain.

A domain grounds its rules into `Operator`s and its quests into `Goal`s, and asks a `Planner` how many steps remain.
Every search limit counts expanded states, never time, so an answer is the same on every machine.
"""

from textagent_gym.mechanics.planning.planner import Planner
from textagent_gym.mechanics.planning.problem import Goal, Operator, Plan, Problem, useful_operators

__all__ = ["Goal", "Operator", "Plan", "Planner", "Problem", "useful_operators"]
