"""A TextWorld game as a planning problem: every rule grounded into bit masks, every quest into a goal.

The rules are those of the game's own knowledge base (textworld 1.7, `generator/data/logic/*.twl`); nothing here knows
what a key or a door is, so any game that textworld can describe is grounded the same way.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from textagent_gym.mechanics.planning import Goal, Operator, Problem
from textagent_gym.mechanics.planning.problem import index_by_pivot

if TYPE_CHECKING:
    from textworld.generator.data import KnowledgeBase
    from textworld.generator.game import Event, Game
    from textworld.logic import Predicate, Proposition, Rule

Fact = tuple[str, ...]
"""A predicate's name followed by the names of its arguments."""

Atom = tuple[str, tuple[str, ...], tuple[str, ...]]
"""A predicate of a rule: its name, its placeholders, and their types."""

Binding = dict[str, str]
"""Placeholder -> entity."""


class GroundRules(NamedTuple):
    """The part of a grounded game that takes time to find.

    Attributes:
        facts: All facts, in the order of their bits.
        operators: As in `Problem`.
        acts: As in `GroundGame`.
    """

    facts: list[Fact]
    operators: list[Operator]
    acts: dict[tuple[str, ...], list[Operator]]


class GroundGame:
    """A game's facts numbered, its commands grounded, its quests turned into goals.

    Attributes:
        problem: Operators named by their commands, one goal per quest.
        points: Reward of each quest, in the order of `problem.goals`.
        acts: Verb and entities -> the operators that this act may be, of which one applies at a time; only those that
            change something. ("take", "k_0", "c_1") takes k_0 from c_1, ("go", "north") goes north from somewhere. Where
            several apply at a time, as with equal hands, the first is textworld's own choice.
        quest_facts: The facts that quests look at, each with its bit.
        own: The facts about the player: where it is, and what it carries.

    Args:
        game: textworld's description of the game.
        rules: What grounding found before; None to ground the rules of the game.
    """

    def __init__(self, game: Game, rules: GroundRules | None = None) -> None:
        self._bits: dict[Fact, int] = {} if rules is None else {fact: bit for bit, fact in enumerate(rules.facts)}
        self.acts: dict[tuple[str, ...], list[Operator]] = {} if rules is None else rules.acts
        initial = self._mask(map(as_fact, game.world.facts))
        operators = (
            sorted(self._operators(game), key=lambda op: (op.name, op.needs)) if rules is None else rules.operators
        )
        conditions = [event.condition for quest in game.quests for event in (*quest.win_events, *quest.fail_events)]
        facts = dict.fromkeys(as_fact(fact) for condition in conditions for fact in condition.preconditions)
        self.quest_facts = tuple((self._mask([fact]), fact) for fact in facts)
        events = [(self._masks(quest.win_events), self._masks(quest.fail_events)) for quest in game.quests]
        first_latch = len(self._bits)
        goals = [
            Goal(1 << first_latch + i, () if quest.optional else wins, fails)
            for i, (quest, (wins, fails)) in enumerate(zip(game.quests, events, strict=True))
        ]
        self.points: tuple[int, ...] = tuple(quest.reward for quest in game.quests)
        self.problem = Problem(
            initial=initial,
            operators=operators,
            goals=goals,
            lost=1 << first_latch + len(goals),
            pivot=sum(1 << index for fact, index in self._bits.items() if fact[:2] == ("at", "P")),
        )
        self._latches = sum(goal.latch for goal in goals)
        self._points_of: dict[int, int] = {}
        self._commands_at = {
            pivot: [(op.needs, op.name) for op in found]
            for pivot, found in index_by_pivot(self.problem.operators, self.problem.pivot).items()
        }
        self.own = sum(1 << index for fact, index in self._bits.items() if {"P", "I"} & set(fact[1:]))

    @property
    def rules(self) -> GroundRules:
        """The part that takes time to find."""
        return GroundRules(list(self._bits), list(self.problem.operators), self.acts)

    def state(self, facts: Iterable[Proposition], previous: int) -> int:
        """Return the bit mask of the world's `facts`, with the quests completed up to `previous` still completed."""
        known = (self._bits.get(as_fact(fact)) for fact in facts)
        return self.problem.evaluate_goals(sum(1 << index for index in known if index is not None), previous)

    def commands(self, state: int) -> tuple[str, ...]:
        """Return the admissible commands in `state`, sorted."""
        rows = self._commands_at.get(state & self.problem.pivot, ())
        return tuple(
            dict.fromkeys([name for needs, name in rows if state & needs == needs])
        )  # operators are sorted by name

    def bit(self, *fact: str) -> int:
        """Return the bit of a fact; 0 where it can never be true."""
        number = self._bits.get(fact)
        return 0 if number is None else 1 << number

    def facts(self, state: int) -> list[Fact]:
        """Return the facts that hold in `state`."""
        return [fact for fact, index in self._bits.items() if state >> index & 1]

    def completed_points(self, state: int) -> int:
        """Return the sum of the rewards of the quests that are completed in `state`."""
        completed = state & self._latches
        points = self._points_of.get(completed)
        if points is None:
            goals = zip(self.problem.goals, self.points, strict=True)
            points = self._points_of[completed] = sum(points for goal, points in goals if state & goal.latch)
        return points

    def _operators(self, game: Game) -> Iterator[Operator]:
        names = {key: info.name or key for key, info in game.infos.items()}
        places = {name: place for place, name in enumerate(game.kb.rules)}
        ranks: dict[tuple[str, ...], list[tuple[Any, Operator]]] = defaultdict(list)
        for rule, binding in ground(game):
            needs = self._mask(instance(atom, binding) for atom in atoms_of(rule.preconditions))
            gives = self._mask(instance(atom, binding) for atom in atoms_of(rule.postconditions))
            command = rule.command_template.format(**{key: names.get(value, value) for key, value in binding.items()})
            operator = Operator(command, needs, gives & ~needs, needs & ~gives)
            if operator.adds or operator.deletes:
                bound = [binding[name] for _, names, _ in atoms_of(rule.preconditions) for name in names]
                rank = (-len(rule.preconditions), places[rule.name], bound)
                ranks[_act(rule.command_template, binding)].append((rank, operator))
            yield operator
        for act, ranked in ranks.items():
            self.acts[act] = [operator for _, operator in sorted(ranked, key=lambda pair: pair[0])]

    def _masks(self, events: Iterable[Event]) -> tuple[int, ...]:
        return tuple(self._mask(map(as_fact, event.condition.preconditions)) for event in events)

    def _mask(self, facts: Iterable[Fact]) -> int:
        mask = 0
        for fact in facts:
            mask |= 1 << self._bits.setdefault(fact, len(self._bits))
        return mask


class FactTable:
    """Facts indexed for joins.

    Args:
        kinds: Entity -> its type.
        types: Type -> the types below it and itself.
    """

    def __init__(self, kinds: Mapping[str, str], types: Mapping[str, frozenset[str]]) -> None:
        self._kinds = dict(kinds)
        self._types = types
        self._by_name: dict[str, list[Fact]] = defaultdict(list)
        self._by_argument: dict[tuple[str, int, str], list[Fact]] = defaultdict(list)

    def __contains__(self, fact: Fact) -> bool:
        return fact in self._by_name.get(fact[0], ())

    def know(self, entity: str, kind: str) -> None:
        """Make an entity known that no fact may mention before."""
        self._kinds.setdefault(entity, kind)

    def discard(self, fact: Fact) -> None:
        """Take out a fact that is in."""
        self._by_name[fact[0]].remove(fact)
        for place, argument in enumerate(fact[1:]):
            self._by_argument[fact[0], place, argument].remove(fact)

    def add(self, fact: Fact) -> None:
        """Take in a fact; each at most once."""
        self._by_name[fact[0]].append(fact)
        for place, argument in enumerate(fact[1:]):
            self._by_argument[fact[0], place, argument].append(fact)

    def join(self, atoms: list[Atom], binding: Binding) -> Iterator[Binding]:
        """Yield all extensions of `binding` under which every atom reads a fact; the atom with fewest candidates goes first.

        The fact table must not change while the iterator is in use.
        """
        if not atoms:
            yield binding
            return
        candidates = [self._candidates(atom, binding) for atom in atoms]
        best = min(range(len(atoms)), key=lambda i: len(candidates[i]))
        rest = atoms[:best] + atoms[best + 1 :]
        for fact in candidates[best]:
            extended = self.unify(atoms[best], fact, binding)
            if extended is not None:
                yield from self.join(rest, extended)

    def unify(self, atom: Atom, fact: Fact, binding: Binding) -> Binding | None:
        """Return `binding` extended so that `atom` reads `fact`, or None. Two placeholders never stand for one entity."""
        name, placeholders, kinds = atom
        if name != fact[0] or len(placeholders) != len(fact) - 1:
            return None
        extended = dict(binding)
        for placeholder, kind, argument in zip(placeholders, kinds, fact[1:], strict=True):
            bound = extended.get(placeholder)
            if bound is None:
                if self._kinds[argument] not in self._types[kind] or argument in extended.values():
                    return None
                extended[placeholder] = argument
            elif bound != argument:
                return None
        return extended

    def _candidates(self, atom: Atom, binding: Binding) -> list[Fact]:
        name, placeholders, _ = atom
        shortest = self._by_name.get(name, [])
        for place, placeholder in enumerate(placeholders):
            if placeholder in binding:
                narrower = self._by_argument.get((name, place, binding[placeholder]), [])
                shortest = narrower if len(narrower) < len(shortest) else shortest
        return shortest


def ground(game: Game) -> Iterator[tuple[Rule, Binding]]:
    """Yield every instance of a rule whose preconditions can each come true some day, each once.

    Facts are taken from a queue and joined with those taken before, so that a combination is met when its last fact
    arrives. Deletions are ignored, which can only add instances that never apply.
    """
    fixed = game.kb.types.constants_mapping
    constants = {placeholder.name: entity.name for placeholder, entity in fixed.items()}
    kinds = {entity.name: entity.type for entity in (*game.world.state.variables, *fixed.values())}
    types = subtypes(game.kb)
    table = FactTable(kinds, types)
    uses: dict[str, list[tuple[Rule, list[Atom], int]]] = defaultdict(list)
    for rule in game.kb.rules.values():
        atoms = atoms_of(rule.preconditions)
        for position, atom in enumerate(atoms):
            uses[atom[0]].append((rule, atoms, position))

    known = dict.fromkeys(map(as_fact, game.world.facts))
    queue = deque(known)
    seen: set[tuple[str, ...]] = set()
    while queue:
        fact = queue.popleft()
        table.add(fact)
        for rule, atoms, position in uses[fact[0]]:
            start = table.unify(atoms[position], fact, constants)
            if start is None:
                continue
            joined = table.join(atoms[:position] + atoms[position + 1 :], start)
            for binding in (whole for part in joined for whole in _completions(rule, part, kinds, types)):
                key = (rule.name, *(binding[placeholder.name] for placeholder in rule.placeholders))
                if key in seen:
                    continue
                seen.add(key)
                yield rule, binding
                for new in (instance(atom, binding) for atom in atoms_of(rule.postconditions)):
                    if new not in known:
                        known[new] = None
                        queue.append(new)


def _completions(
    rule: Rule, binding: Binding, kinds: Mapping[str, str], types: Mapping[str, frozenset[str]]
) -> Iterator[Binding]:
    """Yield `binding` with every entity in the places that only a rule's postconditions name."""
    missing = next((place for place in rule.placeholders if place.name not in binding), None)
    if missing is None:
        yield binding
        return
    for entity, kind in kinds.items():
        if kind in types[missing.type] and entity not in binding.values():
            yield from _completions(rule, {**binding, missing.name: entity}, kinds, types)


def _act(template: str, binding: Mapping[str, str]) -> tuple[str, ...]:
    """Return the verb of a command and what stands in its places: ("take", "k_0", "c_1") for "take {o} from {c}"."""
    verb, *rest = template.split()
    entities = tuple(binding[word[1:-1]] for word in rest if word.startswith("{"))
    return (verb, *(entities or rest))


def as_fact(proposition: Proposition) -> Fact:
    """Return the plain tuple of a textworld proposition."""
    return (proposition.name, *(argument.name for argument in proposition.arguments))


def atoms_of(predicates: Iterable[Predicate]) -> list[Atom]:
    """Return the plain tuples of textworld predicates."""
    return [(p.name, tuple(ph.name for ph in p.parameters), tuple(ph.type for ph in p.parameters)) for p in predicates]


def instance(atom: Atom, binding: Mapping[str, str]) -> Fact:
    """Return the fact that `atom` reads under `binding`."""
    return (atom[0], *(binding[placeholder] for placeholder in atom[1]))


def subtypes(kb: KnowledgeBase) -> dict[str, frozenset[str]]:
    """Return each type's name with the names of the types below it and its own."""
    return {kind: frozenset([kind, *kb.types.descendants(kind)]) for kind in kb.types.types}
