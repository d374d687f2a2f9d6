"""Quests sampled as textworld samples them, without the work that it throws away.

`sample_chain` returns what `textworld.generator.chaining.sample_quest` (textworld 1.7) returns for the same options and
generator state, for chains of breadth one; the tests compare them. Of all continuations of a chain textworld tries every
one and then follows the last; this file tries them from the last and stops at the first that holds. And whether a state
respects the knowledge base's constraints is found by joining plain tuples.

This module imports textworld: import it from inside functions, after `generate.import_textworld`.
"""

from __future__ import annotations

from collections.abc import Iterator

from textworld.generator.chaining import Chain, ChainingOptions, QuestGenerationError, _Chainer, _Node
from textworld.logic import State

from textagent_gym.envs.textworld.logic import FactTable, as_fact, atoms_of, subtypes


def sample_chain(state: State, options: ChainingOptions, node_budget: int | None = None) -> Chain:
    """A chain of exactly `options.max_length` actions that ends in `state`.

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


class _LazyChainer(_Chainer):  # type: ignore[misc]
    def __init__(self, state: State, options: ChainingOptions) -> None:
        super().__init__(state, options)
        self._types = subtypes(options.kb)
        self._forbidden = [atoms_of(rule.preconditions) for rule in self.constraints]

    def continuations(self, node: _Node) -> Iterator[_Node]:
        """The nodes that may follow `node`, in the order in which textworld would explore them."""
        assignments = self.all_assignments(node, self.options.get_rules(node.depth))
        self.rng.shuffle(assignments)
        for partial in reversed(assignments):
            action = self.try_instantiate(node.state, partial)
            if action is None or not self.check_action(node, node.state, action):
                continue
            state = self.apply(node, action)
            if state is not None:
                yield _Node(node, node, state, action, [], {action}, node.breadth)

    def check_state(self, state: State) -> bool:
        """Whether no constraint of the knowledge base matches `state`."""
        table = FactTable({entity.name: entity.type for entity in state.variables}, self._types)
        for fact in state.facts:
            table.add(as_fact(fact))
        return not any(next(table.join(atoms, {}), None) for atoms in self._forbidden)
