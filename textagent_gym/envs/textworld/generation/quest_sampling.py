"""Quests sampled as textworld samples them, without the work that it throws away.

`sample_chain` returns what `textworld.generator.chaining.sample_quest` (textworld 1.7) returns for the same options and
generator state, for chains of breadth one; the tests compare them. Of all continuations of a chain textworld tries every
one and then follows the last; this file tries them from the last and stops at the first that holds. Most candidates are
seen to be of no use by names alone, and whether a state respects the knowledge base's constraints is found by joining plain
tuples, from the facts that are new.

This module imports textworld: import it from inside functions, after `generate.import_textworld`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import NamedTuple

from textworld.generator.chaining import Chain, ChainingOptions, QuestGenerationError, _Chainer, _Node
from textworld.logic import Action, Placeholder, Proposition, Rule, Signature, State, Variable

from textagent_gym.envs.textworld.world.grounding import Atom, Fact, FactTable, as_fact, atoms_of, subtypes


def sample_chain(state: State, options: ChainingOptions, node_budget: int | None = None) -> Chain:
    """Return a chain of exactly `options.max_length` actions that ends in `state`.

    Args:
        state: The world at the end of the chain.
        options: textworld's options, with a generator.
        node_budget: Nodes that may be expanded; None for no limit.

    Raises:
        QuestGenerationError: No such chain exists, or none was found within the budget.
    """
    chainer = _LazyChainer(state, options)
    stack = [chainer.continuations(chainer.root())]
    num_expanded = 1
    while stack:
        node = next(stack[-1], None)
        if node is None:
            stack.pop()
        elif node.length == options.max_length:
            return chainer.make_chain(node)
        else:
            stack.append(chainer.continuations(node))
            num_expanded += 1
            if node_budget is not None and num_expanded > node_budget:
                break
    raise QuestGenerationError(f"no quest of {options.max_length} actions fits this map")


class _Candidate(NamedTuple):
    """An action that may come before a chain: a rule and what stands in its places, None for what is still to be made."""

    rule: Rule
    mapping: dict[Placeholder, Variable | None]


class _LazyChainer(_Chainer):  # type: ignore[misc]
    def __init__(self, state: State, options: ChainingOptions) -> None:
        super().__init__(state, options)
        self._types = subtypes(options.kb)
        self._forbidden: dict[str, list[tuple[list[Atom], int]]] = {}
        for rule in self.constraints:
            atoms = atoms_of(rule.preconditions)
            for position, atom in enumerate(atoms):
                self._forbidden.setdefault(atom[0], []).append((atoms, position))
        self._added_names: dict[Rule, frozenset[str]] = {}

    def continuations(self, node: _Node) -> Iterator[_Node]:
        """Yield the nodes that may follow `node`, in the order in which textworld would explore them."""
        candidates = self._candidates(node, self.options.get_rules(node.depth))
        self.rng.shuffle(candidates)
        wanted = self._wanted_names(node)
        table = self._table(node.state)
        for candidate in reversed(candidates):
            if wanted is not None and not self._may_add(candidate.rule, wanted):
                continue
            action = self.try_instantiate(node.state, candidate)
            if action is None or not self.check_action(node, node.state, action):
                continue
            state = self._before(node, action, table)
            if state is not None:
                yield _Node(node, node, state, action, [], {action}, node.breadth)

    def _candidates(self, node: _Node, rules: Iterable[Rule]) -> list[_Candidate]:
        """Return every candidate, sorted by rule, missing places and filled ones, which is textworld's own order."""
        state = node.state
        here = next(iter(state.facts_with_signature(Signature("at", ["P", "r"]))), None)

        def may_be_new(placeholder: Placeholder) -> bool:
            count = len(state.variables_of_type(placeholder.type))
            return bool(self.options.check_new_variable(state, placeholder.type, count))

        found = []
        for forward in rules:
            rule = forward.inverse()
            fixed = self.get_fixed_mapping(rule, here)
            for mapping in state.all_assignments(rule, fixed, True, may_be_new):
                found.append((_order_of(rule, mapping), _Candidate(rule, mapping)))
        found.sort(key=itemgetter(0))
        return [candidate for _, candidate in found]

    def _wanted_names(self, node: _Node) -> set[str] | None:
        """Names of the facts of which an action must add one to be of use to the next that is no walk; None for any.

        A quick test of what `check_action` asks for, by names alone.
        """
        if node.action is None:
            return None
        names = {atom.name for atom in node.action.inverse().preconditions}
        while node.action is not None and self._is_navigation(node.action):
            node = node.parent
            if node.action is not None:
                names |= {atom.name for atom in node.action.inverse().preconditions}
        return names if node.action is not None else None

    def _may_add(self, rule: Rule, wanted: set[str]) -> bool:
        if rule not in self._added_names:
            forward = rule.inverse()
            kept = set(forward.preconditions)
            self._added_names[rule] = frozenset(p.name for p in forward.postconditions if p not in kept)
        return self._is_navigation(rule) or not wanted.isdisjoint(self._added_names[rule])

    def _before(self, node: _Node, action: Action, table: FactTable) -> State | None:
        """Return the state from which `action` leads to the node's, or None where there is none."""
        state = node.state.copy()
        needed = [prop for prop in action.preconditions if not state.is_fact(prop)]
        for prop in needed:
            state.add_fact(prop)
        if self._breaks(state, table, added=needed, removed=[]):
            return None
        state.apply(action)
        gone = [prop for prop in action.removed if not state.is_fact(prop)]
        added = [prop for prop in (*needed, *action.added) if state.is_fact(prop)]
        if self._breaks(state, table, added=added, removed=gone) or self._returns(node, action, state):
            return None
        return state

    def _breaks(self, state: State, table: FactTable, *, added: list[Proposition], removed: list[Proposition]) -> bool:
        """Return whether a constraint matches the table's facts with some added and some removed.

        The table's own facts match none, so a match must read one that was added.
        """
        new = [fact for fact in dict.fromkeys(map(as_fact, added)) if fact not in table]
        old = [fact for fact in map(as_fact, removed) if fact in table]
        for entity in state.variables:
            table.know(entity.name, entity.type)
        for fact in old:
            table.discard(fact)
        for fact in new:
            table.add(fact)
        broken = any(self._is_forbidden(fact, table) for fact in new)
        for fact in new:
            table.discard(fact)
        for fact in old:
            table.add(fact)
        return broken

    def _is_forbidden(self, fact: Fact, table: FactTable) -> bool:
        for atoms, position in self._forbidden.get(fact[0], ()):
            start = table.unify(atoms[position], fact, {})
            if (
                start is not None
                and next(table.join(atoms[:position] + atoms[position + 1 :], start), None) is not None
            ):
                return True
        return False

    def _returns(self, node: _Node, action: Action, state: State) -> bool:
        """Return whether the chain has been in `state` before."""
        past = state.copy()
        past.apply(action.inverse())
        while node.action:
            past.apply(node.action.inverse())
            if state == past:
                return True
            node = node.parent
        return False

    def _table(self, state: State) -> FactTable:
        table = FactTable({entity.name: entity.type for entity in state.variables}, self._types)
        for fact in state.facts:
            table.add(as_fact(fact))
        return table


def _order_of(rule: Rule, mapping: Mapping[Placeholder, Variable | None]) -> tuple[object, ...]:
    absent, present = [], []
    for placeholder, variable in mapping.items():
        key = (placeholder.name, placeholder.type)
        if variable is None:
            absent.append(key)
        else:
            present.append((key, (variable.name, variable.type)))
    absent.sort()
    present.sort()
    return rule.name, absent, present
