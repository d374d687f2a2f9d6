"""Sub-goals by type of task: find, take, wash or heat or cool, put down; each a fact of the state, not of the past."""

from __future__ import annotations

from textagent_gym.envs.alfworld.pddl.state import Facts
from textagent_gym.envs.alfworld.planning.goals import ExamineGoal, Goal, PlaceGoal


def num_stages(goals: tuple[Goal, ...]) -> int:
    """Stages of all goals: 3 for each object (find, take, put down or look at), and 1 for each state it must have."""
    return sum(goal.num_objects * (3 + len(goal.states)) if isinstance(goal, PlaceGoal) else 3 for goal in goals)


def stages_done(facts: Facts, goals: tuple[Goal, ...]) -> int:
    """Return stages that stand now. An object counts as found while it is in sight, held or where it belongs.

    Facts about several agents count together: what any of them has found or holds.
    Taking a thing and putting it back undoes the stage, so that nothing can be farmed; and of several objects that would
    do, those that are furthest count.
    """
    done = 0
    for goal in goals:
        things = [thing for thing, _ in facts.index("objecttype", (1,)).get(goal.object_type, ())]
        scores = sorted((_score(facts, goal, thing) for thing in things), reverse=True)
        done += sum(scores[: goal.num_objects if isinstance(goal, PlaceGoal) else 1])
    return done


def _score(facts: Facts, goal: Goal, thing: str) -> int:
    held = thing in facts.index("holds", (1,))
    places = [place for _, place in facts.index("inreceptacle", (0,)).get(thing, ())]
    found = held or any(_in_sight(facts, place) for place in places)
    if isinstance(goal, ExamineGoal):
        return found + held + (held and _at_used_lamp(facts, goal))
    if any(not facts.holds(ability, thing) for ability in goal.abilities):
        return 0
    ready = sum(facts.holds(state, thing) for state in goal.states)
    placed = any(facts.holds("receptacletype", place, goal.receptacle_type) for place in places)
    if placed and ready == len(goal.states):
        return 3 + ready
    return found + held + ready


def _in_sight(facts: Facts, place: str) -> bool:
    hidden = facts.holds("openable", place) and not facts.holds("opened", place)
    return not hidden and any(
        facts.holds("receptacleatlocation", place, location) for _, location in facts.rows("atlocation")
    )


def _at_used_lamp(facts: Facts, goal: ExamineGoal) -> bool:
    return any(
        facts.holds("objecttype", lamp, goal.lamp_type)
        and any(_in_sight(facts, place) for _, place in facts.index("inreceptacle", (0,)).get(lamp, ()))
        for (lamp,) in facts.rows("istoggled")
    )
