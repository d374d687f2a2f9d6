"""Games that the native engine does not model are played by the interpreter, and the task card says why."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import textagent_gym  # noqa: F401
from textagent_gym.envs.packages import import_textworld, undisturbed
from textagent_gym.envs.textworld.engine import NativeEngine
from textagent_gym.envs.textworld.generation.files import file_task
from textagent_gym.envs.textworld.world.known import KNOWLEDGE, UnknownGameError, check_known, digest_of

textworld = import_textworld()

from textworld.challenges.tw_coin_collector import coin_collector  # noqa: E402
from textworld.challenges.tw_cooking import cooking  # noqa: E402
from textworld.challenges.tw_simple import simple  # noqa: E402
from textworld.challenges.tw_treasure_hunter import treasure_hunter  # noqa: E402
from textworld.generator.data import KnowledgeBase  # noqa: E402
from textworld.generator.game import Event, Quest  # noqa: E402

STATUE = """
type st : o {
    predicates { polished(st); dusty(st); }
    rules { polish/st :: $in(st, I) & dusty(st) -> polished(st); }
    constraints { st1 :: polished(st) & dusty(st) -> fail(); }
    inform7 {
        type { kind :: "statue-like"; definition :: "statue-like can be polished or dusty. statue-like is usually dusty."; }
        predicates { polished(st) :: "The {st} is polished"; dusty(st) :: "The {st} is dusty"; }
        commands { polish/st :: "polish {st}" :: "polishing the {st}"; }
        code :: \"\"\"
            Polishing is an action applying to one carried thing.
            Understand the command "polish" as something new.
            Understand "polish [something]" as polishing.
            Carry out polishing: Now the noun is polished.
            Report polishing: say "You polish [the noun].".
        \"\"\";
    }
}
"""
"""A type and a verb that textworld does not have."""


class House:
    """Two rooms, an apple and a coin, of which the coin has to be carried to the garden."""

    def __init__(self) -> None:
        self.maker = textworld.GameMaker()
        self.kitchen, self.garden = self.maker.new_room("Kitchen"), self.maker.new_room("Garden")
        self.maker.connect(self.kitchen.east, self.garden.west)
        self.maker.set_player(self.kitchen)
        self.apple, self.coin = self.maker.new("f", name="apple"), self.maker.new("o", name="coin")
        self.kitchen.add(self.apple, self.coin)
        self.main = Quest(win_events=[self.event(("at", self.maker.player, self.garden), self.carried(self.coin))])

    def carried(self, thing: Any) -> tuple[Any, ...]:
        return ("in", thing, self.maker.inventory)

    def event(self, *facts: tuple[Any, ...]) -> Any:
        return Event(conditions={self.maker.new_fact(*fact) for fact in facts})

    def built(self, *more: Any) -> Any:
        self.maker.quests = [self.main, *more]
        with undisturbed():
            return self.maker.build()


def with_quest(**options: Any) -> Callable[[House], Any]:
    return lambda house: house.built(Quest(win_events=[house.event(house.carried(house.apple))], **options))


def asking_for(*names: str) -> Callable[[House], Any]:
    def build(house: House) -> Any:
        name, *arguments = names
        fact = (name, *(getattr(house, argument) for argument in arguments))
        return house.built(Quest(win_events=[house.event(fact)], reward=1))

    return build


def named(**texts: str) -> Callable[[House], Any]:
    def build(house: House) -> Any:
        for name, text in texts.items():
            setattr(house.coin.infos, name, text)
        return house.built()

    return build


def with_objective(text: str) -> Callable[[House], Any]:
    def build(house: House) -> Any:
        game = house.built()
        game.objective = text
        return game

    return build


UNKNOWN: dict[str, tuple[Callable[[House], Any], str]] = {
    "optional": (with_quest(reward=5, optional=True), "an optional quest"),
    "repeatable": (with_quest(reward=5, optional=True, repeatable=True), "a repeatable quest"),
    "penalty": (with_quest(reward=-3, optional=True), "an optional quest"),
    "compulsory penalty": (with_quest(reward=-3), "a quest that pays -3 points"),
    "riches": (with_quest(reward=40_000), "a quest that pays 40000 points"),
    "optional failure": (
        lambda house: house.built(Quest(fail_events=[house.event(("eaten", house.apple))], optional=True)),
        "an optional quest",
    ),
    "free": (asking_for("free", "kitchen", "garden"), r"an event that asks for free\(r_0, r_1\)"),
    "brackets": (named(name="coin [old]"), r"'\[' in the name of o_0"),
    "quotation marks": (with_objective('Say "please".'), "'\"' in the objective"),
    "substitution": (with_objective("Wait for [the noun]."), r"'\[' in the objective"),
    "condition": (named(desc="[if the player is in r_0]A coin.[end if]"), "the condition 'the player is in r_0'"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_modelled_is_refused(name: str, tmp_path: Path) -> None:
    build, reason = UNKNOWN[name]
    path = tmp_path / "game.json"
    path.write_text(json.dumps(build(House()).serialize()))
    with pytest.raises(UnknownGameError, match=reason):
        NativeEngine().load(file_task(str(path)))


@pytest.mark.parametrize(
    "build",
    [
        lambda house: house.built(),
        with_quest(reward=5),
        with_quest(reward=0),
        lambda house: house.built(Quest(fail_events=[house.event(("eaten", house.apple))])),
        lambda house: house.built(Quest(win_events=[house.event(("at", house.apple, house.garden))])),
        named(name="cook's café coin, no. 5 (old)", desc="It's a coin of 5%."),
    ],
)
def test_what_is_modelled_is_not_refused(build: Callable[[House], Any]) -> None:
    check_known(build(House()))


def test_the_knowledge_bases_of_textworld_are_known() -> None:
    shipped = [KnowledgeBase.default()]
    shipped += [KnowledgeBase.load(path) for path in (coin_collector.KB_PATH, simple.KB_PATH, treasure_hunter.KB_PATH)]
    for path in (cooking.KB_LOGIC_PATH, cooking.KB_LOGIC_DROP_PATH):
        shipped.append(KnowledgeBase.load(logic_path=path, grammar_path=cooking.KB_GRAMMAR_PATH))
    assert {digest_of(base.logic.serialize()) for base in shipped} == set(KNOWLEDGE)


def test_a_digest_knows_changes_from_comments() -> None:
    logic = KnowledgeBase.default().logic.serialize()
    (digest,) = [digest for digest, games in KNOWLEDGE.items() if games.startswith("textworld")]
    assert digest_of(f"# A comment.\n\n{logic}") == digest
    for old, new in (
        ("in(f, I) -> eaten(f)", "in(f, I) -> at(f, r)"),
        ('"eat {f}"', '"gobble {f}"'),
        ("edible", "good"),
    ):
        assert old in logic
        assert digest_of(logic.replace(old, new)) != digest
    assert digest_of(f"{logic}\n{STATUE}") != digest


def with_statue(folder: Path) -> Any:
    """Return a game that is won by a verb of its own."""
    data = folder / "data"
    shutil.copytree(Path(textworld.__file__).parent / "generator" / "data", data)
    (data / "logic" / "statue.twl").write_text(STATUE)
    options = textworld.GameOptions()
    with undisturbed():
        options.kb = KnowledgeBase.load(target_dir=str(data))
        options.seeds = 5
        maker = textworld.GameMaker(options)
        museum = maker.new_room("Museum")
        maker.set_player(museum)
        statue = maker.new("st", name="ivory statue")
        maker.add_fact("dusty", statue)
        museum.add(statue)
        maker.quests = [Quest(win_events=[Event(conditions={maker.new_fact("polished", statue)})], reward=1)]
        return maker.build()


def test_the_interpreter_plays_a_game_with_rules_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "statue.json"
    path.write_text(json.dumps(with_statue(tmp_path).serialize()))
    env = gym.make("TextWorld-Custom-v0", game=str(path), expose_solution=True, disable_env_checker=True)
    _, info = env.reset(seed=0)
    card = info["task_card"]
    assert card["backend"] == "inform7"
    assert card["details"]["backend_reason"] == (
        "the native engine does not model types, rules, commands or code of its own"
    )
    assert info["solution"] == ("take ivory statue", "polish ivory statue")
    env.step("take ivory statue")
    text, reward, terminated, _, info = env.step("polish ivory statue")
    assert text.startswith("You polish the ivory statue.")
    assert (reward, terminated, info["success"]) == (1, True, True)
    env.close()


@pytest.mark.parametrize(
    ("options", "points"),
    [({"reward": 5, "optional": True}, 6), ({"reward": 5, "optional": True, "repeatable": True}, 21),
     ({"reward": -3, "optional": True}, -2)],
)  # fmt: skip
def test_the_points_of_all_quests_are_paid(options: dict[str, Any], points: int, tmp_path: Path) -> None:
    path = tmp_path / "game.json"
    path.write_text(json.dumps(with_quest(**options)(House()).serialize()))
    env = gym.make("TextWorld-Custom-v0", game=str(path), reward_scale="native", max_steps=9, disable_env_checker=True)
    env.reset(seed=0)
    commands = ("take apple", "drop apple", "take apple", "take coin", "go east")
    paid = [env.step(command) for command in commands]
    assert sum(step[1] for step in paid) == points
    assert paid[-1][2]
    env.close()
