"""A domain and a grammar, compiled once for all games that share them: which commands apply, what they do and say."""

from __future__ import annotations

import operator
import re
import threading
from collections.abc import Callable, Hashable, Mapping

from textagent_gym.envs.alfworld.pddl.parser import (
    ActionSchema,
    Conjunction,
    Literal,
    Problem,
    Row,
    UnknownPddlError,
    read_domain,
)
from textagent_gym.envs.alfworld.pddl.queries import Query, compile_query
from textagent_gym.envs.alfworld.pddl.state import Facts
from textagent_gym.envs.alfworld.pddl.text_grammar import Bound, Grammar, GrammarContext, Renderer, UnknownGrammarError

Types = Mapping[str, frozenset[str]]
"""Type -> objects of that type."""

WAS = "not_"
"""Prefix under which a grammar asks whether a fact was deleted (and is not merely absent), as textworld's state has it."""


class Rule:
    """An action schema, compiled.

    Args:
        schema: The action schema.
        grammar: Grammar with its words.
        facts: Typical facts.
        recorded: Predicates whose deletions the grammar asks for.

    Attributes:
        name: The name of the schema.
        parameters: Its variables.
        gates: Predicates that are empty in the typical facts, and as long as they are the action does not apply.
        reads: The predicates among those that may change on which it depends whether the action applies.
        feedback: The answer to the command.
        wording: The part of a row on which the command depends.
    """

    def __init__(self, schema: ActionSchema, grammar: Grammar, facts: Facts, recorded: frozenset[str]) -> None:
        if schema.name not in grammar.actions:
            raise UnknownGrammarError(f"expected words for the action {schema.name}, got none")
        text = grammar.actions[schema.name]
        bound: Bound = tuple(schema.parameters.items())
        self.name = schema.name
        self.parameters = tuple(schema.parameters)
        self.wording = _wording(text.template, self.parameters)
        self._template = grammar.renderer(text.template, bound)
        self.feedback: Renderer = grammar.renderer(text.feedback, bound)
        self._queries = tuple(
            compile_query(part.literals, {**schema.parameters, **part.local}, wanted=self.parameters, facts=facts)
            for part in schema.condition
        )
        literals = [literal for part in schema.condition for literal in part.literals]
        self.reads = tuple(name for name in facts.fluents if any(literal.predicate == name for literal in literals))
        always = set.intersection(
            *({lit.predicate for lit in part.literals if lit.positive} for part in schema.condition)
        )
        self.gates = tuple(name for name in facts.fluents if name in always and not facts.rows(name))
        self._effects = [_Effect(None, schema.adds, schema.deletes, schema.parameters, facts, recorded)]
        for condition, adds, deletes in schema.conditional:
            self._effects.append(_Effect(condition, adds, deletes, schema.parameters, facts, recorded))
        self._still = _stillness(schema)

    def instances(self, facts: Facts, types: Types) -> list[Row]:
        """Return the values of the parameters with which the action applies."""
        rows = self._queries[0](facts, types)
        for query in self._queries[1:]:
            if others := query(facts, types):
                rows = list(dict.fromkeys([*rows, *others]))
        for i, j in self._still:
            rows = [row for row in rows if row[i] != row[j]]
        return rows

    def command(self, context: GrammarContext, row: Row) -> str:
        """Return the command that performs the action."""
        return self._template(context, row)

    def apply(self, facts: Facts, types: Types, row: Row) -> None:
        """Make the effects true; where an atom is both deleted and added, it is true afterwards."""
        happening = [effect for effect in self._effects if effect.happens(facts, types, row)]
        for effect in happening:
            effect.delete(facts, row)
        for effect in happening:
            effect.add(facts, row)


class _Effect:
    """Atoms that an action makes true and false, always or under a condition."""

    def __init__(
        self,
        condition: tuple[Conjunction, ...] | None,
        adds: tuple[Literal, ...],
        deletes: tuple[Literal, ...],
        parameters: Mapping[str, str],
        facts: Facts,
        recorded: frozenset[str],
    ) -> None:
        self._queries: list[Query] | None = None
        if condition is not None:
            bound = tuple(parameters)
            self._queries = [compile_query(part.literals, part.local, bound=bound, facts=facts) for part in condition]
        places = {name: place for place, name in enumerate(parameters)}

        def change(literal: Literal) -> tuple[str, str | None, _Pick]:
            record = WAS + literal.predicate if literal.predicate in recorded else None
            return literal.predicate, record, _picker(literal, places)

        self._adds, self._deletes = [*map(change, adds)], [*map(change, deletes)]

    def happens(self, facts: Facts, types: Types, row: Row) -> bool:
        return self._queries is None or any(query(facts, types, *row) for query in self._queries)

    def delete(self, facts: Facts, row: Row) -> None:
        for predicate, was, pick in self._deletes:
            facts.remove(predicate, pick(row))
            if was:
                facts.add(was, pick(row))

    def add(self, facts: Facts, row: Row) -> None:
        for predicate, was, pick in self._adds:
            facts.add(predicate, pick(row))
            if was:
                facts.remove(was, pick(row))


class Logic:
    """A domain and a grammar.

    Args:
        domain: PDDL.
        grammar: A `.twl2` document without its task.
        problem: Any problem of the domain, for the order of loops.

    Attributes:
        fluents: Predicates that may change, and those that record a deletion.
        rules: The actions.
        intro: The first text of a game.

    Raises:
        UnknownPddlError: The domain holds something that is not understood here.
        UnknownGrammarError: The grammar does.
    """

    def __init__(self, domain: str, grammar: str, problem: Problem) -> None:
        schemas = read_domain(domain)
        asked = set(re.findall(r"([\w-]+)\(\s*\w+\s*:", grammar))
        recorded = frozenset(name.removeprefix(WAS) for name in asked if name.startswith(WAS))
        for schema in schemas:
            _check_texts(schema, asked, recorded)
        changing = {literal.predicate for schema in schemas for literal in _effects(schema)}
        self.fluents = tuple(sorted(changing | {WAS + name for name in recorded}))
        facts = Facts(problem.facts, self.fluents)
        words = Grammar(grammar, facts)
        self.rules = tuple(Rule(schema, words, facts, recorded) for schema in schemas)
        self.intro = words.renderer("#intro#", ())


def logic_of(domain: str, grammar: str, problem: Problem) -> Logic:
    """Return the compiled logic of a domain and a grammar, from memory where an equal one was compiled before."""
    key = domain, grammar
    with _lock:
        if key not in _logics:
            while len(_logics) >= _MAX_LOGICS:
                del _logics[next(iter(_logics))]
            _logics[key] = Logic(domain, grammar, problem)
        return _logics[key]


_MAX_LOGICS = 16
_logics: dict[tuple[str, str], Logic] = {}
_lock = threading.Lock()

_Pick = Callable[[Row], Row]


def _wording(template: str, parameters: tuple[str, ...]) -> Callable[[Row], Hashable]:
    names = re.findall(r"\w+", template)
    places = [place for place, name in enumerate(parameters) if "#" in template or name[1:] in names]
    return operator.itemgetter(*places) if places else lambda row: ()


def _picker(literal: Literal, places: Mapping[str, int]) -> _Pick:
    """Return the arguments of a literal, from the values of an action's parameters."""
    if any(not name.startswith("?") for name in literal.arguments):
        raise UnknownPddlError(f"expected no constant in an effect, got {literal.predicate} {literal.arguments}")
    where = [places[name] for name in literal.arguments]
    if len(where) == 1:
        (only,) = where
        return lambda row: (row[only],)
    pick: _Pick = operator.itemgetter(*where)
    return pick


def _effects(schema: ActionSchema) -> tuple[Literal, ...]:
    return schema.adds + schema.deletes + _conditional_effects(schema)


def _conditional_effects(schema: ActionSchema) -> tuple[Literal, ...]:
    return tuple(literal for _, adds, deletes in schema.conditional for literal in adds + deletes)


def _check_texts(schema: ActionSchema, asked: set[str], recorded: frozenset[str]) -> None:
    """Refuse what textworld's own bookkeeping, on which texts are based, does differently from the planner's.

    It carries out conditional effects whether their condition holds or not, and of an atom that was false it records the
    deletion only where the translation to SAS keeps the atom.
    """
    for literal in _conditional_effects(schema):
        if literal.predicate in asked or literal.predicate in recorded:
            raise UnknownGrammarError(
                f"expected no text about {literal.predicate}, which {schema.name} changes at times"
            )
    for literal in schema.deletes:
        sure = all(literal._replace(positive=True) in part.literals for part in schema.condition)
        if literal.predicate in recorded and not sure:
            raise UnknownGrammarError(f"expected {schema.name} to delete {literal.predicate} only where it holds")


def _stillness(schema: ActionSchema) -> list[tuple[int, int]]:
    """Return the pair of parameters that, where equal, make an action add what it needs and delete what it adds: nothing.

    Fast Downward knows no such operators. Empty for a schema that always changes something.
    """
    places = {name: place for place, name in enumerate(schema.parameters)}
    adds = [add._replace(positive=True) for add in schema.adds]
    needs = [literal for literal in schema.condition[0].literals if literal.positive]
    pairs: set[tuple[int, int]] = set()
    for effect, kept in (*((add, needs) for add in adds), *((gone, adds) for gone in schema.deletes)):
        alike = [literal for literal in kept if literal.predicate == effect.predicate]
        if not alike or schema.conditional:
            return []
        if len(alike) > 1 or len(schema.condition) > 1:
            raise UnknownPddlError(f"expected one way in which {schema.name} changes nothing, got several")
        for one, other in zip(effect.arguments, alike[0].arguments, strict=True):
            if one != other and not {one, other} <= set(places):
                return []
            if one != other:
                pairs.add((min(places[one], places[other]), max(places[one], places[other])))
    if len(pairs) != 1:
        raise UnknownPddlError(f"expected one pair of parameters that decides whether {schema.name} changes anything")
    return sorted(pairs)
