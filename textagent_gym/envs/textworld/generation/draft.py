"""New TextWorld games from `textworld.generator`, with one knowledge base for all and no wasted search.

`draft`, `Draft.furnished` and `Draft.worded` follow the pipeline of `textworld.generator.make_game` (textworld 1.7: map,
quests backwards, distractors, text) with the same draws from the same generators, so that a seed gives the very game that
`tw-make custom` makes; the tests compare them. What differs: quests are sampled by `quest_sampling.sample_chain`, which
wastes less, the last quest can be cut short, so that a game has exactly the solution length that was asked for, and the same
quests can be given other objects and other words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from textagent_gym.envs.packages import import_textworld, undisturbed
from textagent_gym.envs.textworld.types import Instructions

if TYPE_CHECKING:
    from numpy.random import RandomState
    from textworld import GameOptions
    from textworld.generator.game import Game, Quest
    from textworld.generator.world import World


@dataclass(frozen=True)
class Draft:
    """A world with its quests, before objects that no quest needs and before any text.

    Attributes:
        options: textworld's options, seeded.
        rngs: The generators of this game, as far as they have been drawn from.
        world: Map and the objects that the quests need.
        quests: The quests in the order in which textworld solves them.
    """

    options: GameOptions
    rngs: dict[str, RandomState]
    world: World
    quests: tuple[Quest, ...]

    @property
    def num_objects(self) -> int:
        """Objects so far, without doors, player and inventory."""
        return sum(entity.type not in {"r", "d", "I", "P"} for entity in self.world.entities)

    def without_last(self, num_actions: int) -> Draft | None:
        """Return this draft with the last quest that many actions shorter, or None where it cannot end there.

        A quest ends with an action on an object, as textworld's own do.
        """
        from textworld.generator.game import Event, Quest

        actions = self.quests[-1].win_events[0].actions
        before = self.quests[-2].win_events[0].actions if len(self.quests) > 1 else ()
        kept = actions[: len(actions) - num_actions]
        if len(kept) <= len(before) or kept[-1].name.startswith("go/"):
            return None
        cut = Quest(win_events=[Event(kept)])
        return replace(self, quests=(*self.quests[:-1], cut))

    def bare_game(self) -> Game:
        """Return the game without text, for measuring."""
        from textworld.generator.game import Game

        return Game(self.world, None, self.quests)

    def furnished(self, variant: int | None = None) -> Draft:
        """Return this draft with the objects that no quest needs, up to the number that was asked for.

        Args:
            variant: Number of a choice of objects; None for those of `tw-make custom`, which go into this draft's own world.
        """
        from textworld.generator.world import World

        missing = self.options.nb_objects - self.num_objects
        if missing <= 0:
            return self
        if variant is None:
            self.world.populate(missing, rng=self.rngs["objects"])
            return self
        world = World.from_facts(self.world.facts, kb=self.options.kb)
        world.populate(missing, rng=self._rng(0, variant))
        return replace(self, world=world)

    def worded(self, wording: int | None = None) -> Game:
        """Return the game of this draft with all its text.

        Args:
            wording: Number of a choice of words; None for the words of `tw-make custom`.
        """
        from textworld.generator import make_grammar
        from textworld.generator.game import Game

        rng = self.rngs["grammar"] if wording is None else self._rng(1, wording)
        with undisturbed():  # its parser reads one text at a time
            grammar = make_grammar(self.options.grammar, rng=rng)
            game = Game(self.world, grammar, self.quests)
        game.metadata["uuid"] = self.options.uuid
        return game

    def _rng(self, purpose: int, number: int) -> RandomState:
        seeds = [self.options.seeds[key] for key in sorted(self.options.seeds)]
        return np.random.RandomState(np.random.SeedSequence([*seeds, purpose, number]).generate_state(4))


def draft(
    *,
    num_rooms: int,
    num_objects: int,
    quest_length: int,
    num_quests: int,
    seed: int,
    instructions: Instructions,
    node_budget: int | None = None,
) -> Draft:
    """Draw map and quests of a game, as `tw-make custom --seed SEED` does.

    Args:
        num_rooms: Rooms of the map.
        num_objects: Objects, once furnished; the quests may need more.
        quest_length: Actions of each quest.
        num_quests: Parallel quests.
        seed: Seed of all that is drawn.
        instructions: Part of the solution that the objective will state.
        node_budget: Nodes that the search for one quest may expand; None for no limit.

    Raises:
        textworld.generator.QuestGenerationError: This map holds no such quest.
    """
    textworld = import_textworld()
    options = textworld.GameOptions()
    options.kb = textworld.generator.KnowledgeBase.default()
    options.seeds = seed
    options.nb_rooms, options.nb_objects = num_rooms, num_objects
    options.nb_parallel_quests, options.quest_length = num_quests, quest_length
    options.grammar.only_last_action = instructions != "steps"
    rngs = options.rngs
    world = textworld.generator.make_world(num_rooms, nb_objects=0, rngs=rngs)
    # A quest must not end with walking or looking.
    last_rules = options.kb.rules.get_matching(".*", exclude=["go.*", "examine.*", "look.*", "inventory.*"])
    options.chaining.rules_per_depth = [last_rules]
    options.chaining.backward = options.chaining.create_variables = True
    options.chaining.restricted_types = {"r", "d"}
    options.chaining.rng = rngs["quest"]
    return Draft(options, rngs, world, _draw_quests(world, options, node_budget))


def give_instructions(game: Game, instructions: Instructions) -> None:
    """Set how much of the solution the objective states; every word is textworld's own."""
    if instructions == "goal":
        game.objective = "\nAND\n".join(quest.desc for quest in game.quests if quest.desc)
    elif instructions == "none":
        game.objective = ""


def _draw_quests(world: World, options: GameOptions, node_budget: int | None) -> tuple[Quest, ...]:
    """Return chains drawn from the last back to the first; each quest ends where its chain does."""
    from textworld.generator.game import Event, Quest

    from textagent_gym.envs.textworld.generation.quest_sampling import sample_chain

    state, chains = world.state, []
    for _ in range(options.nb_parallel_quests):
        chains.append(sample_chain(state, options.chaining, node_budget))
        state = chains[-1].initial_state
    world.state = state
    quests, actions = [], []
    for chain in reversed(chains):
        actions += chain.actions
        quests.append(Quest(win_events=[Event(actions)]))
    return tuple(quests)
