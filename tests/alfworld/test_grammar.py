"""A grammar of a few rules, rewritten: conditions, lists, expressions, and what is not understood."""

import pytest

from textagent_gym.envs.alfworld.generation.game_file import package_texts
from textagent_gym.envs.alfworld.pddl.state import Facts
from textagent_gym.envs.alfworld.pddl.text_grammar import (
    Bound,
    Grammar,
    GrammarContext,
    UnknownGrammarError,
    split_task,
)

GRAMMAR = r'''
grammar :: """
    {
        # a comment in a line of its own
        "task": [{"rhs": "Your task is to: tidy up."}],
        "intro": [{"rhs": "  Hello.\n\n#task#"}],
        "state": [
            {"condition": "open(r:place) & lit(r:place)", "rhs": "The {r.name} is open and lit."},
            {"condition": "open(r:place)", "rhs": "The {r.name} is open."},
            {"condition": "not_open(r:place)", "rhs": "The {r.name} was shut."},
            {"rhs": "The {r.name} is closed."}
        ],
        "inside": [{"rhs": "[{o.indefinite + ' ' + o.name | in(o:thing, r:place)}]"}],
        "pairs": [{"rhs": "[{#pair(o, p)# | in(o:thing, r:place) & in(p:thing, r:place)}]"}],
        "pair(o, p)": [{"rhs": "{o}&{p}"}],
        "run": [{"rhs": "<{o.id | in(o:thing, r:place)}>"}],
        "names": [{"rhs": "{r} {r.name} {r.id} {r.definite} {r.indefinite} {r.name or r.id} {'x' or r}"}],
        "list_empty": [{"rhs": "nothing"}],
        "list_separator": [{"rhs": ", "}],
        "list_last_separator": [{"rhs": ", and "}]
    }
""";

action Open {
    template :: "open {r}";
    feedback :: "#state#";
}

action Look {
    template :: "look";
    feedback :: "#look.feedback#";
    grammar :: """{"look.feedback": [{"rhs": "You see #inside#."}]}""";
}
'''

ROOM: Bound = (("?r", "place"),)
FLUENTS = ("in", "lit", "not_open", "open")


def text(start: str, *facts: tuple[str, ...], grammar: str = GRAMMAR, bound: Bound = ROOM) -> str:
    rows: dict[str, list[tuple[str, ...]]] = {}
    for name, *row in facts:
        rows.setdefault(name, []).append(tuple(row))
    state = Facts(rows, FLUENTS)
    types = {"place": frozenset({"box_1", "bag_1"}), "thing": frozenset({"cup_1", "jug_1", "pan_1"})}
    names = {thing: thing.replace("_", " ") for kind in types.values() for thing in kind}
    household = GrammarContext(state, types, names, "Your task is to: rest.")
    values = ("box_1",) if bound else ()
    return Grammar(grammar, Facts({}, FLUENTS)).renderer(start, bound)(household, values)


def grammar_of(rule: str) -> str:
    return GRAMMAR.replace('"task": [{"rhs": "Your task is to: tidy up."}],', f'"odd": {rule},')


def test_actions_are_known_by_their_names_in_lower_case() -> None:
    actions = Grammar(GRAMMAR, Facts({}, ())).actions
    assert {name: tuple(words) for name, words in actions.items()} == {
        "open": ("open {r}", "#state#"),
        "look": ("look", "#look.feedback#"),
    }
    assert text(actions["open"].template) == "open box 1"


def test_the_first_alternative_whose_condition_holds_is_taken() -> None:
    assert text("#state#") == "The box 1 is closed."
    assert text("#state#", ("not_open", "box_1")) == "The box 1 was shut."
    assert text("#state#", ("open", "box_1")) == "The box 1 is open."
    assert text("#state#", ("open", "box_1"), ("lit", "box_1")) == "The box 1 is open and lit."
    assert text("#state#", ("open", "bag_1")) == "The box 1 is closed."


@pytest.mark.parametrize(
    ("things", "answer"),
    [
        ([], "nothing"),
        (["pan_1"], "a pan 1"),
        (["pan_1", "cup_1"], "a cup 1, and a pan 1"),
        (["pan_1", "jug_1", "cup_1"], "a cup 1, a jug 1, and a pan 1"),
    ],
)
def test_lists_have_commas_and_an_and(things: list[str], answer: str) -> None:
    facts = [("in", thing, "box_1") for thing in things]
    assert text("#inside#", *facts, ("in", "jug_1", "bag_1")) == answer
    assert text("#look.feedback#", *facts) == f"You see {answer}."


def test_different_variables_of_a_list_are_different_things() -> None:
    assert text("#pairs#", ("in", "jug_1", "box_1"), ("in", "cup_1", "box_1")) == "cup 1&jug 1, and jug 1&cup 1"


def test_braces_without_brackets_run_together() -> None:
    with pytest.raises(UnknownGrammarError, match="expected text"):
        text("#run#")
    plain = GRAMMAR.replace("<{o.id | in(o:thing, r:place)}>", "{o.id | in(o:thing, r:place)}")
    assert text("#run#", ("in", "jug_1", "box_1"), ("in", "cup_1", "box_1"), grammar=plain) == "cup_1jug_1"
    assert text("#run#", grammar=plain) == ""


def test_expressions_are_names_articles_sums_and_choices() -> None:
    assert text("#names#") == "box 1 box 1 box_1 the a box 1 x"


def test_white_space_before_the_first_word_is_dropped_and_the_household_tells_the_task() -> None:
    assert text("#intro#", bound=()) == "Hello.\n\nYour task is to: rest."


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ('[{"rhs": "#missing#"}]', "expected a rule 'missing'"),
        ('[{"condition": "open(r:place)", "rhs": "x"}]', "to end with an alternative without condition"),
        ('[{"rhs": "{r.colour}"}]', r"got \.colour"),
        ('[{"rhs": "{q.name}"}]', "expected names and their properties"),
        ('[{"rhs": "{r.name.title()}"}]', "expected names and their properties"),
        ('[{"rhs": "{1}"}]', "expected names and their properties"),
        ('[{"rhs": "{r.name +}"}]', "expected an expression"),
        ('[{"rhs": "{}"}]', "expected an expression"),
        ('[{"rhs": "a {r"}]', "expected text"),
        ('[{"rhs": "a; b"}]', "expected text"),
        ('[{"rhs": "// comment"}]', "expected no comment"),
        ('[{"rhs": "[{o | in(o, r)}]"}]', "expected name:type"),
        ('[{"rhs": "[{o | in(o:thing, r:place) or open(r:place)}]"}]', "expected a condition"),
        ('[{"rhs": "[{o | in(o:thing, r:thing)}]"}]', "to be of type place, got thing"),
        ('[{"rhs": "[{o | in(o:thing, o:place)}]"}]', "expected name:type"),
        ('[{"condition": "!open(r:place)", "rhs": "x"}, {"rhs": "y"}]', "expected a condition"),
        ('[{"text": "x"}]', "expected"),
        ('[{"rhs": 3}]', "expected"),
        ('["x"]', "expected"),
        ('"x"', "expected"),
        ('[{"rhs": "x",}]', "expected rules as JSON"),
    ],
)
def test_what_is_not_understood_is_refused(rule: str, message: str) -> None:
    with pytest.raises(UnknownGrammarError, match=message):
        text("#odd#", grammar=grammar_of(rule))


@pytest.mark.parametrize(
    ("whole", "message"),
    [
        ("type place;", "expected an action or a grammar"),
        (GRAMMAR[:-30], "expected"),
        (GRAMMAR.replace('template :: "look";', ""), "expected the action Look to have a template and a feedback"),
        ('grammar :: """[1, 2]""";', "expected"),
        ('grammar :: """""";', "expected rules as JSON"),
    ],
)
def test_a_document_that_is_no_grammar_is_refused(whole: str, message: str) -> None:
    with pytest.raises(UnknownGrammarError, match=message):
        Grammar(whole, Facts({}, ()))


def test_the_sentence_of_the_task_is_taken_out() -> None:
    rest, task = split_task(GRAMMAR)
    assert task == "Your task is to: tidy up."
    assert rest == GRAMMAR.replace(task, "")


@pytest.mark.parametrize("task", ["#intro#", "{r}", "[x]", " led by a space", "// comment", "", "a|b", r"a\"b"])
def test_a_task_that_is_more_than_words_is_refused(task: str) -> None:
    with pytest.raises(UnknownGrammarError, match="expected a task in plain words"):
        split_task(GRAMMAR.replace("Your task is to: tidy up.", task))


def test_a_grammar_without_a_task_is_refused() -> None:
    with pytest.raises(UnknownGrammarError, match='expected a rule "task"'):
        split_task(GRAMMAR.replace('"task"', '"chore"'))


def test_the_grammar_of_the_package_is_read() -> None:
    assert Grammar(package_texts()[1], Facts({}, ())).actions["putobject"].template == "move {o} to {r}"


def test_separators_of_unicode_end_no_line() -> None:
    assert text("#odd#", grammar=grammar_of('[{"rhs": "a\u2028b\x85c"}]')) == "a\u2028b\x85c"
