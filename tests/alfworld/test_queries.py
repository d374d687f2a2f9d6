"""Compiled queries against plain enumeration, and indexes that follow every change against indexes built again."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textagent_gym.envs.alfworld.pddl.parser import Literal, Row, UnknownPddlError
from textagent_gym.envs.alfworld.pddl.queries import compile_query
from textagent_gym.envs.alfworld.pddl.state import Facts

OBJECTS = ("a", "b", "c", "d")
TYPES = {"cup": frozenset("ab"), "pan": frozenset("cd"), "thing": frozenset(OBJECTS)}
VARIABLES = ("?x", "?y", "?z")
ARITIES = {"rain": 0, "clean": 1, "on": 2, "between": 3}
NAMES = st.sampled_from(VARIABLES + OBJECTS[:2])


def all_rows(arity: int) -> st.SearchStrategy[list[Row]]:
    return st.lists(st.tuples(*[st.sampled_from(OBJECTS)] * arity), max_size=8, unique=True)


def literals_of(predicate: str, arity: int) -> st.SearchStrategy[Literal]:
    return st.builds(Literal, st.just(predicate), st.tuples(*[NAMES] * arity), st.booleans())


FACTS = st.fixed_dictionaries({name: all_rows(arity) for name, arity in ARITIES.items()})
LITERALS = st.one_of([literals_of(name, arity) for name, arity in {**ARITIES, "=": 2}.items()])


def enumerated(
    rows: dict[str, list[Row]],
    literals: Sequence[Literal],
    free: dict[str, str],
    given_values: dict[str, str],
    wanted: Sequence[str],
    distinct: bool,
) -> list[Row]:
    """Return the rows of a query by trying all values of all variables."""
    found = []
    for values in itertools.product(*(sorted(TYPES[kind]) for kind in free.values())):
        names = {**given_values, **dict(zip(free, values, strict=True)), **{thing: thing for thing in OBJECTS}}

        def is_true(literal: Literal, names: dict[str, str] = names) -> bool:
            row = tuple(names[name] for name in literal.arguments)
            return (
                row[0] == row[1] if literal.predicate == "=" else row in rows[literal.predicate]
            ) == literal.positive

        apart = all(
            names[one] != names[other]
            for one, other in itertools.combinations([*given_values, *free], 2)
            if one in free or other in free
        )
        if all(map(is_true, literals)) and (apart or not distinct):
            found.append(tuple(names[name] for name in wanted))
    return sorted(found)


@settings(max_examples=250, deadline=None)
@given(
    rows=FACTS,
    typical=FACTS,
    literals=st.lists(LITERALS, max_size=5),
    kinds=st.tuples(*[st.sampled_from([*TYPES, "nothing of this type"])] * 3),
    given_values=st.dictionaries(st.sampled_from(VARIABLES), st.sampled_from(OBJECTS)),
    wanted=st.lists(NAMES, max_size=4),
    distinct=st.booleans(),
)
def test_a_query_finds_what_enumeration_finds(
    rows: dict[str, list[Row]],
    typical: dict[str, list[Row]],
    literals: list[Literal],
    kinds: tuple[str, ...],
    given_values: dict[str, str],
    wanted: list[str],
    distinct: bool,
) -> None:
    types = {**TYPES, "nothing of this type": frozenset[str]()}
    free = {name: kind for name, kind in zip(VARIABLES, kinds, strict=True) if name not in given_values}
    query = compile_query(
        literals, free, bound=list(given_values), wanted=wanted, facts=Facts(typical, ("on",)), distinct=distinct
    )
    facts = Facts(rows, ("clean", "on"))
    if "nothing of this type" in free.values():
        expected: list[Row] = []
    else:
        expected = enumerated(rows, literals, free, given_values, wanted, distinct)
    known = {kind: things for kind, things in types.items() if things}
    assert sorted(query(facts, known, *given_values.values())) == expected


def test_a_type_keeps_out_what_the_facts_hold() -> None:
    facts = Facts({"on": [("a", "c"), ("c", "a")]}, ())
    query = compile_query([Literal("on", ("?x", "?y"))], {"?x": "cup", "?y": "pan"}, wanted=["?x", "?y"], facts=facts)
    assert query(facts, TYPES) == [("a", "c")]


def test_a_variable_without_a_type_is_refused() -> None:
    with pytest.raises(UnknownPddlError, match=r"expected a type for the variable \?x"):
        compile_query([Literal("clean", ("?x",))], {}, facts=Facts({}, ()))


FLUENTS = ("clean", "on")
POSITIONS = [("clean", (0,)), ("on", (0,)), ("on", (1,)), ("on", (1, 0)), ("between", (0, 2))]
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["add", "remove"]), st.just("clean"), st.tuples(st.sampled_from(OBJECTS))),
        st.tuples(st.sampled_from(["add", "remove"]), st.just("on"), st.tuples(*[st.sampled_from(OBJECTS)] * 2)),
        st.tuples(st.just("index"), st.sampled_from(POSITIONS)),
        st.tuples(st.just("mark")),
        st.tuples(st.just("go_to"), st.integers(0, 9)),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(rows=FACTS, changes=CHANGES)
def test_indexes_follow_every_change(rows: dict[str, list[Row]], changes: list[tuple[object, ...]]) -> None:
    original = Facts(rows, FLUENTS)
    original.index("on", (0,))
    facts = original.copy()
    plain = {name: set(found) for name, found in rows.items()}
    marks = [(facts.mark(), {name: set(plain[name]) for name in FLUENTS})]
    for change, *what in changes:
        match change, what:
            case "add", [str(name), tuple(row)]:
                facts.add(name, row)
                plain[name].add(row)
            case "remove", [str(name), tuple(row)]:
                facts.remove(name, row)
                plain[name].discard(row)
            case "index", [(str(name), tuple(positions))]:
                facts.index(name, positions)
            case "mark", []:
                marks.append((facts.mark(), {name: set(plain[name]) for name in FLUENTS}))
            case "go_to", [int(number)]:
                mark, then = marks[number % len(marks)]
                facts.go_to(mark)
                plain.update({name: set(found) for name, found in then.items()})
    fresh = Facts(plain, FLUENTS)
    assert facts.mark() == fresh.mark()
    for name, positions in POSITIONS:
        assert facts.index(name, positions) == fresh.index(name, positions)
    assert all(original.rows(name) == set(found) for name, found in rows.items())
    assert original.index("on", (0,)) == Facts(rows, FLUENTS).index("on", (0,))
