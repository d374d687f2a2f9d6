"""PDDL as ALFWorld writes it: what is read, and what is refused with a sentence."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textagent_gym.envs.alfworld.generation.game_file import package_texts
from textagent_gym.envs.alfworld.pddl.parser import (
    Conjunction,
    Literal,
    UnknownPddlError,
    alternatives,
    read_domain,
    read_problem,
)
from textagent_gym.envs.alfworld.tasks import make_task
from textagent_gym.envs.alfworld.types import TaskSpec

DOMAIN = """
(define (domain Kitchen) ; a comment with (brackets
  (:requirements :adl)
  (:types agent object)
  (:action Cook
    :parameters (?a - agent ?x ?y - Object ?z)
    :precondition (and (Holds ?a ?x) (not (Raw ?y)))
    :effect (and (Cooked ?x) (not (Raw ?x)) (increase (total-cost) 1)
                 (when (Hot ?y) (and (Burnt ?x) (not (Fresh ?x))))))
  (:action wait :parameters () :precondition () :effect (waited)))
"""

PROBLEM = """
(define (problem p) (:domain kitchen)
  (:objects Anna - agent apple pear - object spoon)
  (:init (= (total-cost) 0) (Holds anna Apple) (holds anna pear) ; and again:
         (holds ANNA apple) (= (distance a b) 3))
  (:goal (and (exists (?x - object) (cooked ?x))))
  (:metric minimize (total-cost)))
"""


def problem_text() -> str:
    text = make_task(TaskSpec(num_receptacles=3, num_objects=2, solution_length=4)).data["pddl_problem"]
    assert isinstance(text, str)
    return text


def formula(text: str) -> Any:
    """Return the s-expression of a formula, as nested lists."""
    found: Any = eval(re.sub(r"[^\s(),]+", r"'\g<0>',", text).replace("(", "[").replace(")", "],"))
    return found[0]


def test_comments_and_capitals_do_not_count() -> None:
    cook, wait = read_domain(DOMAIN)
    assert (cook.name, cook.parameters) == ("cook", {"?a": "agent", "?x": "object", "?y": "object", "?z": "object"})
    assert cook.condition == (Conjunction((Literal("holds", ("?a", "?x")), Literal("raw", ("?y",), False)), {}),)
    assert (wait.name, wait.parameters, wait.adds) == ("wait", {}, (Literal("waited", ()),))


def test_an_empty_condition_holds_everywhere() -> None:
    assert read_domain(DOMAIN)[1].condition == (Conjunction((), {}),) == alternatives([])


def test_effects_are_apart_by_sign_and_condition_and_costs_are_ignored() -> None:
    cook = read_domain(DOMAIN)[0]
    assert cook.adds == (Literal("cooked", ("?x",)),)
    assert cook.deletes == (Literal("raw", ("?x",), False),)
    hot = (Conjunction((Literal("hot", ("?y",)),), {}),)
    assert cook.conditional == ((hot, (Literal("burnt", ("?x",)),), (Literal("fresh", ("?x",), False),)),)


def test_a_problem_has_each_fact_once_and_no_costs() -> None:
    problem = read_problem(PROBLEM)
    assert problem.objects == {"anna": "agent", "apple": "object", "pear": "object", "spoon": "object"}
    assert problem.facts == {"holds": [("anna", "apple"), ("anna", "pear")]}
    ((literals, local),) = problem.goal
    assert [literal.predicate for literal in literals] == ["cooked"]
    assert literals[0].arguments == tuple(local)
    assert tuple(local.values()) == ("object",)


def test_nested_connectives_become_alternatives_in_order() -> None:
    found = alternatives(formula("(and (a) (or (b) (and (c) (not (d)))) (or (e) (f)))"))
    signs = [[f"{'' if lit.positive else '-'}{lit.predicate}" for lit in part.literals] for part in found]
    assert signs == [["a", "b", "e"], ["a", "b", "f"], ["a", "c", "-d", "e"], ["a", "c", "-d", "f"]]


def test_variables_of_two_exists_are_kept_apart() -> None:
    (found,) = alternatives(formula("(and (exists (?x - cup) (p ?x ?z)) (exists (?x - pan) (q ?x)) (r ?x))"))
    (first, free), (second,), (outside,) = (literal.arguments for literal in found.literals)
    assert free == "?z"
    assert outside == "?x"
    assert len({first, second, outside}) == 3
    assert found.local == {first: "cup", second: "pan"}


def test_an_inner_exists_hides_the_outer_one_and_no_more() -> None:
    (found,) = alternatives(formula("(exists (?x - cup) (and (p ?x) (exists (?x - pan) (q ?x)) (r ?x)))"))
    (p,), (q,), (r,) = (literal.arguments for literal in found.literals)
    assert p == r != q
    assert found.local == {p: "cup", q: "pan"}


def test_a_comma_is_part_of_the_name_of_a_type() -> None:
    (found,) = alternatives(formula("(exists (?l - location, ?r - receptacle) (p ?l ?r))".replace(",", "COMMA")))
    assert sorted(found.local.values()) == ["locationCOMMA", "receptacle"]
    schema = next(schema for schema in read_domain(package_texts()[0]) if schema.name == "examineobject")
    assert "location," in schema.condition[0].local.values()


def test_alfworlds_own_domain_is_read() -> None:
    schemas = {schema.name: schema for schema in read_domain(package_texts()[0])}
    assert list(schemas["gotolocation"].parameters.values()) == ["agent", "location", "location", "receptacle"]
    assert len(schemas["examineobject"].condition) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cut short"),
        ("(define (problem p)", "cut short"),
        ("(define (problem p)))", "too many"),
        ("(a) (b)", "cut short"),
        ("zork", "cut short"),
        ("()", r"expected \(define \(problem"),
        (DOMAIN, r"expected \(define \(problem"),
        ("(define (problem p) zork)", r"expected \(word \.\.\.\), got zork"),
        ("(define (problem p) (:objects a) (:init))", "with :goal"),
        ("(define (problem p) (:objects) (:init (p (q))) (:goal (p)))", "expected a ground fact"),
        ("(define (problem p) (:objects) (:init) (:goal (forall (?x - o) (p ?x))))", "expected an atom"),
        ("(define (problem p) (:objects) (:init) (:goal (imply (p) (q))))", "expected an atom"),
        ("(define (problem p) (:objects) (:init) (:goal (not (and (p) (q)))))", "expected an atom"),
    ],
)
def test_what_is_no_problem_is_refused_with_a_sentence(text: str, message: str) -> None:
    with pytest.raises(UnknownPddlError, match=message):
        read_problem(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (":parameters (?a", "(?a"),
        (":effect (and (Cooked", "(and (Cooked"),
        (":effect (waited)", ""),
        (":effect (waited)", ":effect (waited) :cost"),
        (":precondition () :effect (waited)", ":effect (waited) ()"),
        (":precondition () :effect", ":condition () :effect"),
        ("(Holds ?a ?x)", "(forall (?b - agent) (Holds ?b ?x))"),
        ("(Holds ?a ?x)", "holds"),
        ("(Holds ?a ?x)", "(not)"),
        ("(Holds ?a ?x)", "(exists (?b - agent))"),
        ("(when (Hot ?y)", "(when"),
        ("?x ?y - Object", "?x (?y) - Object"),
        ("(increase (total-cost) 1)", "()"),
    ],
)
def test_a_damaged_action_is_refused(old: str, new: str) -> None:
    assert old in DOMAIN
    with pytest.raises(UnknownPddlError):
        read_domain(DOMAIN.replace(old, new))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_problem_cut_anywhere_is_refused(data: st.DataObject) -> None:
    text = problem_text()
    cut = data.draw(st.integers(0, len(text)))
    if text[cut:].strip():
        with pytest.raises(UnknownPddlError):
            read_problem(text[:cut])
    else:
        assert read_problem(text[:cut]) == read_problem(text)


@settings(max_examples=25, deadline=None)
@given(share=st.floats(0, 1))
def test_a_real_problem_cut_anywhere_is_refused(real_game: dict[str, Any], share: float) -> None:
    text = real_game["pddl_problem"].rstrip()
    cut = int(share * len(text))
    if cut < len(text):
        with pytest.raises(UnknownPddlError):
            read_problem(text[:cut])
    else:
        assert read_problem(text).goal


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_problem_without_some_of_its_words_is_read_or_refused(data: st.DataObject) -> None:
    text = PROBLEM if data.draw(st.booleans()) else DOMAIN
    words = re.findall(r"[()]|[^\s()]+", re.sub(";.*", "", text))
    lost = data.draw(st.sets(st.integers(0, len(words) - 1), max_size=4))
    left = " ".join(word for place, word in enumerate(words) if place not in lost)
    for read in (read_problem, read_domain):
        answer = "expected"
        try:
            read(left)
        except UnknownPddlError as error:
            answer = str(error)
        assert answer.startswith("expected")
