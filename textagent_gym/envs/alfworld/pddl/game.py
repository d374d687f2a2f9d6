"""A game of ALFWorld, read: the objects, their names, what is true at the start, and what has to become true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from textagent_gym.envs.alfworld.pddl.parser import Problem, Row, UnknownPddlError, read_problem
from textagent_gym.envs.alfworld.pddl.queries import compile_query
from textagent_gym.envs.alfworld.pddl.rules import Logic, Rule, Types, logic_of
from textagent_gym.envs.alfworld.pddl.state import Facts
from textagent_gym.envs.alfworld.pddl.text_grammar import GrammarContext, split_task
from textagent_gym.envs.alfworld.planning.model import Step

Action = tuple[Rule, Row]
"""A rule and the values of its parameters."""


@dataclass(frozen=True)
class Game:
    """A game file's content, ready to be played; engines share it.

    Attributes:
        problem: The PDDL problem.
        logic: The compiled domain and grammar.
        types: Type -> objects of that type.
        names: Object -> name.
        task: The sentence that states the task.
        initial: Facts at the start; to be copied, not changed.
        is_won: True if the goal holds in a state.
        watched: Predicates on which it depends what can be done and whether the goal holds.
        source: The content that the game was read from.
    """

    problem: Problem
    logic: Logic
    types: Types
    names: Mapping[str, str]
    task: str
    initial: Facts
    is_won: Callable[[Facts], bool]
    watched: frozenset[str]
    source: Mapping[str, str]
    _wording: dict[str, dict[Hashable, str]] = field(default_factory=dict, repr=False)
    _kept: dict[tuple[str, frozenset[Row]], dict[str, Action]] = field(default_factory=dict, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to read the game again: what was compiled cannot be pickled."""
        return read_game, (self.source,)

    def __deepcopy__(self, memo: dict[int, Any]) -> Game:
        """Return the game itself: nothing of it changes."""
        return self

    def context(self, facts: Facts) -> GrammarContext:
        """Return the parts from which texts about a state are made."""
        return GrammarContext(facts, self.types, self.names, self.task)

    def commands(self, facts: Facts) -> dict[str, Action]:
        """Return command -> what it does, of all that can be done in a state.

        The first rule is meant where two share a command.
        """
        found: dict[str, Action] = {}
        for rule in reversed(self.logic.rules):
            if not all(map(facts.table.get, rule.gates)):
                continue
            if len(rule.reads) > 1:
                self._add_instances(rule, facts, found)
                continue
            # What depends on one predicate at most, such as where the agent is, comes back often.
            key = rule.name, frozenset[Row](*map(facts.rows, rule.reads))
            kept = self._kept.get(key)
            if kept is None:
                kept = {}
                self._add_instances(rule, facts, kept)
                self._kept[key] = kept
            found.update(kept)
        return found

    def _add_instances(self, rule: Rule, facts: Facts, found: dict[str, Action]) -> None:
        commands = self._wording.setdefault(rule.name, {})
        for row in rule.instances(facts, self.types):
            words = rule.wording(row)
            command = commands.get(words)
            if command is None:
                command = commands[words] = rule.command(self.context(facts), row)
            found[command] = rule, row

    def command_of(self, step: Step) -> str:
        """Return the command that performs a step of a plan."""
        action, values = step
        rule = next(rule for rule in self.logic.rules if rule.name == action)
        return rule.command(self.context(self.initial), tuple(values[name] for name in rule.parameters))


def read_game(data: Mapping[str, Any]) -> Game:
    """Return the game that the content of a `game.tw-pddl` describes.

    Raises:
        UnknownPddlError: The domain or the problem holds something that is not understood here.
        UnknownGrammarError: The grammar does.
    """
    problem = read_problem(data["pddl_problem"])
    grammar, task = split_task(data["grammar"])
    logic = logic_of(data["pddl_domain"], grammar, problem)
    kinds: dict[str, list[str]] = {}
    for thing, kind in problem.objects.items():
        kinds.setdefault(kind, []).append(thing)
    types = {kind: frozenset(things) for kind, things in kinds.items()}
    things = {thing for rows in problem.facts.values() for row in rows for thing in row}
    strangers = things - set(problem.objects)
    if strangers:
        raise UnknownPddlError(f"expected facts about objects of the problem, got {min(strangers)}")
    initial = Facts(problem.facts, logic.fluents)
    goals = [
        [compile_query(part.literals, part.local, facts=initial) for part in alternative.parts()]
        for alternative in problem.goal
    ]

    def is_won(facts: Facts) -> bool:
        return any(all(part(facts, types) for part in parts) for parts in goals)

    source = {key: data[key] for key in ("pddl_domain", "grammar", "pddl_problem")}
    asked = {literal.predicate for alternative in problem.goal for literal in alternative.literals}
    watched = frozenset(asked.union(*(rule.reads for rule in logic.rules)))
    return Game(problem, logic, types, entity_names(things), task, initial, is_won, watched, source)


def entity_names(things: Iterable[str]) -> dict[str, str]:
    """Return the names by which a player knows objects: `apple_bar__plus_...` is "apple 1".

    The numbers run backwards through the sorted identifiers of a kind, and what has no place keeps its identifier and
    a space, as in alfworld 0.4.2 (`Demangler` without shuffling).
    """
    ordered = sorted(things)
    kinds = {thing: _kind(thing) for thing in ordered}
    left = Counter(kind for thing, kind in kinds.items() if "_bar_" in thing)
    names = {}
    for thing, kind in kinds.items():
        if "_bar_" in thing:
            names[thing] = f"{kind} {left[kind]}"
            left[kind] -= 1
        else:
            names[thing] = f"{kind} "
    return names


def _kind(thing: str) -> str:
    """Return the kind of a thing; a basin gets its kind from the sink or bathtub that it is in."""
    for mangled, sign in (("_minus_", "-"), ("_plus_", "+"), ("_dot_", "."), ("_comma_", ",")):
        thing = thing.replace(mangled, sign)
    kind, bar, _ = thing.partition("_bar_")
    return f"{kind}basin" if bar and "basin" in thing else kind
