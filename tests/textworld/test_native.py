"""The native engine against the interpreter, line by line, and against itself."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.textworld_players import VERBS_ALONE, admissible_player, careless_player
from tests.textworld.differential import Tally, compare_game, task_spec_of
from textagent_gym.envs.textworld.engine import NativeEngine
from textagent_gym.envs.textworld.parser.parser import Parser
from textagent_gym.envs.textworld.tasks import make_task
from textagent_gym.envs.textworld.world.descriptions import quoted


@pytest.mark.parametrize("number", [1, 3, 7, 12, 22])
def test_both_backends_say_the_same(number: int) -> None:
    for name, tally in compare_game(number, num_steps=60).items():
        assert tally.examples == [], name
        assert tally.differing_lists == 0


@pytest.mark.slow
def test_both_backends_say_the_same_over_many_games() -> None:
    totals = {"expert": Tally(), "admissible": Tally(), "careless": Tally()}
    for number in range(1000, 1100):
        for name, tally in compare_game(number, num_steps=100).items():
            totals[name].add(tally)
    assert totals["expert"].examples == totals["admissible"].examples == []
    assert totals["careless"].differing <= 0.005 * totals["careless"].steps
    assert sum(total.differing_lists for total in totals.values()) == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 40), st.integers(0, 2**16), st.integers(0, 30), st.integers(1, 20))
def test_the_continuation_after_restore_is_the_one_without(number: int, seed: int, before: int, after: int) -> None:
    task = make_task(task_spec_of(number))
    engine, other, player = NativeEngine(), NativeEngine(), careless_player(task, seed)
    engine.load(task)
    other.load(task)
    reply = engine.reset()
    for _ in range(before):
        reply = engine.step(player(reply) or "look")
    point = engine.snapshot()
    lines, answers = [], []
    for _ in range(after):
        lines.append(player(reply) or "look")
        reply = engine.step(lines[-1])
        answers.append(reply)
    for player_engine in (engine, other):
        player_engine.restore(point)
        assert [player_engine.step(line) for line in lines] == answers


@pytest.mark.parametrize("number", [3, 10, 11])
def test_plain_commands_are_read_as_the_parser_reads_them(number: int) -> None:
    task = make_task(task_spec_of(number))
    engine, player = NativeEngine(), admissible_player(number)
    engine.load(task)
    reply, num_plain = engine.reset(), 0
    for _ in range(150):
        for command in reply.admissible:
            plain = engine._compiled.plain.get(command)
            if plain is None:
                continue
            num_plain += 1
            parser = Parser(engine.game_map)
            parser.memory = engine._parser.memory
            assert parser.read(command, engine.world) == plain[0]
            recalled = Parser(engine.game_map)
            recalled.memory = engine._parser.memory
            recalled.recall(*plain)
            assert recalled.memory == parser.memory
        if reply.won or reply.lost:
            reply = engine.reset()
        reply = engine.step(player(reply) or "look")
    assert num_plain > 1000


@settings(deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from(" ".join(VERBS_ALONE).split()), max_size=20).map(" ".join))
def test_no_line_stops_the_engine(line: str) -> None:
    engine = NativeEngine()
    engine.load(make_task(task_spec_of(3)))
    engine.reset()
    assert engine.step(f"look {line}").text
    if line.split():
        assert engine.step(line).text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("the lid's in your way", "the lid's in your way"),
        ("you call 'looking.'", 'you call "looking."'),
        ("That'", 'That"'),
        ("'s limited edition key", "'s limited edition key"),
        ("'ve done that", '"ve done that'),
    ],
)
def test_quotation_marks_are_informs(text: str, said: str) -> None:
    assert quoted(text) == said
