"""Reading PDDL: the part of the language (2.2, level 1, with `:adl`) that ALFWorld's domain and problems are written in.

Everything is lower-cased, as Fast Downward does; costs are left out, since a step is a step.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

Row = tuple[str, ...]
"""The arguments of one ground fact."""

SExpression = Any
"""A string, or a list of s-expressions."""


class UnknownPddlError(ValueError):
    """A construct that this reader does not know; the game may still be playable by ALFWorld's own engine."""


class Literal(NamedTuple):
    """A possibly negated atom; arguments that start with `?` are variables. The predicate `=` compares two arguments."""

    predicate: str
    arguments: Row
    positive: bool = True

    @property
    def variables(self) -> Row:
        """The arguments that are variables."""
        return tuple(argument for argument in self.arguments if argument.startswith("?"))


class Conjunction(NamedTuple):
    """Literals that must hold together for some values of the `local` variables.

    Attributes:
        literals: All of them must hold.
        local: Variable -> type of the variables that are bound inside (`exists`).
    """

    literals: tuple[Literal, ...]
    local: dict[str, str]

    def parts(self) -> list[Conjunction]:
        """Return the same as conjunctions that share no variable, in the order of their first literals."""
        groups: list[tuple[set[str], list[Literal]]] = []
        for literal in self.literals:
            group = set(literal.variables), [literal]
            for other in [other for other in groups if other[0] & group[0]]:
                groups.remove(other)
                group = other[0] | group[0], other[1] + group[1]
            groups.append(group)
        ordered = sorted(groups, key=lambda group: self.literals.index(group[1][0]))
        return [Conjunction(tuple(found), {name: self.local[name] for name in names}) for names, found in ordered]


@dataclass(frozen=True)
class ActionSchema:
    """An action with parameters.

    Attributes:
        name: Its name, in lower case.
        parameters: Variable -> type, in order.
        condition: Alternatives, of which one must hold.
        adds: Atoms that become true.
        deletes: Atoms that become false, unless they are added as well.
        conditional: (condition, adds, deletes) of effects that happen only where their condition held before.
    """

    name: str
    parameters: dict[str, str]
    condition: tuple[Conjunction, ...]
    adds: tuple[Literal, ...]
    deletes: tuple[Literal, ...]
    conditional: tuple[tuple[tuple[Conjunction, ...], tuple[Literal, ...], tuple[Literal, ...]], ...]


@dataclass(frozen=True)
class Problem:
    """A PDDL problem.

    Attributes:
        objects: Object -> type.
        facts: Predicate -> rows that hold at the start, each once, in the order of the file.
        goal: Alternatives, of which one must hold.
    """

    objects: dict[str, str]
    facts: dict[str, list[Row]]
    goal: tuple[Conjunction, ...]


def read_domain(text: str) -> tuple[ActionSchema, ...]:
    """Return the actions of a domain.

    Raises:
        UnknownPddlError: The text is not a domain, or uses something that is not understood here.
    """
    return tuple(_action(section[1:]) for section in _sections(text, "domain") if section[0] == ":action")


def read_problem(text: str) -> Problem:
    """Return the objects, the facts and the goal of a problem.

    Raises:
        UnknownPddlError: The text is cut short, is not a problem, or uses something that is not understood here.
    """
    sections = {section[0]: section[1:] for section in _sections(text, "problem")}
    missing = {":objects", ":init", ":goal"} - {name for name, parts in sections.items() if parts or name != ":goal"}
    if missing:
        raise UnknownPddlError(f"expected a PDDL problem with {', '.join(sorted(missing))}, got one without")
    facts: dict[str, dict[Row, None]] = {}
    for atom in map(_headed, sections[":init"]):
        if atom[0] == "=":
            continue  # distances and the total cost
        if any(not isinstance(part, str) for part in atom):
            raise UnknownPddlError(f"expected a ground fact, got {_shown(atom)}")
        facts.setdefault(atom[0], {})[tuple(atom[1:])] = None
    goal = alternatives(sections[":goal"][0])
    return Problem(_typed(sections[":objects"]), {name: list(rows) for name, rows in facts.items()}, goal)


def alternatives(formula: SExpression) -> tuple[Conjunction, ...]:
    """Return a condition in disjunctive normal form; the empty condition holds everywhere.

    Raises:
        UnknownPddlError: The formula holds `forall`, `imply`, or a negation of something other than an atom.
    """
    return _alternatives(formula, {}, itertools.count())


def _alternatives(formula: SExpression, names: dict[str, str], fresh: Iterator[int]) -> tuple[Conjunction, ...]:
    """As `alternatives`; `names` are those that the variables bound so far go by, none of them used twice."""
    if not formula:
        return (Conjunction((), {}),)
    head, *rest = _headed(formula)
    if head == "and":
        parts = [_alternatives(part, names, fresh) for part in rest]
        return tuple(_joined(choice) for choice in itertools.product(*parts))
    if head == "or":
        return tuple(choice for part in rest for choice in _alternatives(part, names, fresh))
    if head == "exists":
        _check_length(formula, 3)
        types = _typed(rest[0])
        inner = {name: f"{name}.{next(fresh)}" for name in types}
        bound = {inner[name]: kind for name, kind in types.items()}
        found = _alternatives(rest[1], {**names, **inner}, fresh)
        return tuple(Conjunction(part.literals, {**bound, **part.local}) for part in found)
    literal = _literal(formula)
    renamed = literal._replace(arguments=tuple(names.get(name, name) for name in literal.arguments))
    return (Conjunction((renamed,), {}),)


def _joined(parts: Iterable[Conjunction]) -> Conjunction:
    local: dict[str, str] = {}
    literals: list[Literal] = []
    for part in parts:
        local.update(part.local)
        literals += part.literals
    return Conjunction(tuple(literals), local)


def _sections(text: str, kind: str) -> Iterator[list[SExpression]]:
    tree = _read(text)
    if len(tree) < 2 or tree[0] != "define" or tree[1][:1] != [kind]:
        raise UnknownPddlError(f"expected (define ({kind} ...) ...), got {text.strip()[:40]!r}")
    yield from map(_headed, tree[2:])


def _read(text: str) -> list[SExpression]:
    """Return the one s-expression that `text` is."""
    top: list[SExpression] = []
    inner, outer = top, []
    for token in re.findall(r"[()]|[^\s()]+", re.sub(r";.*", "", text).lower()):
        if token == "(":
            outer.append(inner)
            inner = []
        elif token == ")":
            if not outer:
                raise UnknownPddlError("expected balanced parentheses, got one ')' too many")
            closed, inner = inner, outer.pop()
            inner.append(closed)
        else:
            inner.append(token)
    if outer or len(top) != 1 or not isinstance(top[0], list):
        raise UnknownPddlError("expected one whole PDDL definition, got one that is cut short")
    return top[0]


def _action(parts: list[SExpression]) -> ActionSchema:
    name, *rest = _headed(parts)
    fields = {_shown(key): value for key, value in zip(rest[::2], rest[1::2], strict=False)}
    known = {":parameters", ":precondition", ":effect"}
    if len(rest) % 2 or not known - {":precondition"} <= set(fields) <= known:
        raise UnknownPddlError(f"expected the action {name} to have {', '.join(sorted(known))}, got {_shown(rest)}")
    adds: list[Literal] = []
    deletes: list[Literal] = []
    conditional = []
    for effect in _flat(fields[":effect"]):
        if effect[0] == "when":
            _check_length(effect, 3)
            then = [_literal(part) for part in _flat(effect[2])]
            yes, no = tuple(lit for lit in then if lit.positive), tuple(lit for lit in then if not lit.positive)
            conditional.append((alternatives(effect[1]), yes, no))
        elif effect[0] != "increase":
            literal = _literal(effect)
            (adds if literal.positive else deletes).append(literal)
    condition = alternatives(fields.get(":precondition", []))
    return ActionSchema(name, _typed(fields[":parameters"]), condition, tuple(adds), tuple(deletes), tuple(conditional))


def _flat(effect: SExpression) -> list[SExpression]:
    return [*map(_headed, effect[1:])] if _headed(effect)[0] == "and" else [effect]


def _literal(formula: SExpression) -> Literal:
    positive = _headed(formula)[0] != "not"
    if not positive:
        _check_length(formula, 2)
    atom = _headed(formula if positive else formula[1])
    if atom[0] in {"forall", "imply", "and", "or", "exists", "when"} or not all(isinstance(part, str) for part in atom):
        raise UnknownPddlError(f"expected an atom, got {_shown(formula)}")
    return Literal(atom[0], tuple(atom[1:]), positive)


def _headed(expression: SExpression) -> list[SExpression]:
    """Return the expression, once it is known to be a list that starts with a word."""
    if not isinstance(expression, list) or not expression or not isinstance(expression[0], str):
        raise UnknownPddlError(f"expected (word ...), got {_shown(expression)}")
    return expression


def _check_length(expression: list[SExpression], length: int) -> None:
    if len(expression) != length:
        raise UnknownPddlError(f"expected {expression[0]} with {length - 1} parts, got {_shown(expression)}")


def _typed(words: list[str]) -> dict[str, str]:
    """Return name -> type of a list such as `?a - agent ?x ?y - object`.

    A comma is a letter like any other: ALFWorld's domain says `?l - location, ?r - receptacle` in what lets one examine an
    object that lies somewhere, and since nothing is of the type `location,` only what is held can be examined.
    """
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UnknownPddlError(f"expected names and their types, got {_shown(words)}")
    types: dict[str, str] = {}
    waiting: list[str] = []
    rest = iter(words)
    for word in rest:
        if word != "-":
            waiting.append(word)
            continue
        kind = next(rest, "object")
        types.update(dict.fromkeys(waiting, kind))
        waiting = []
    types.update(dict.fromkeys(waiting, "object"))
    return types


def _shown(expression: SExpression) -> str:
    return str(expression).replace("'", "").replace(",", "")[:80]
