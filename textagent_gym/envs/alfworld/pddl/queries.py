"""Conjunctive queries, compiled to nested loops: a domain's conditions and a grammar's are asked at every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from textagent_gym.envs.alfworld.pddl.parser import Literal, UnknownPddlError
from textagent_gym.envs.alfworld.pddl.state import Facts

Query = Callable[..., list[tuple[str, ...]]]
"""`query(facts, types, *bound)`: one tuple of the wanted values for each way to make all literals true, in no order.

`types` maps a type to the objects of that type; `bound` are the values of the variables that were bound at compilation.
"""

NOTHING: frozenset[Any] = frozenset()


def compile_query(
    literals: Sequence[Literal],
    variables: Mapping[str, str],
    *,
    bound: Sequence[str] = (),
    wanted: Sequence[str] = (),
    facts: Facts,
    distinct: bool = False,
) -> Query:
    """Compile a conjunction.

    Args:
        literals: All of them must hold.
        variables: Variable -> type, of all variables that are not bound.
        bound: Variables whose values are given at each call.
        wanted: Variables and constants of which the values are returned.
        facts: Typical facts, from which the order of the loops is estimated; any order gives the same answer.
        distinct: True if different variables must have different values, as in textworld's own queries.

    Raises:
        UnknownPddlError: A variable has no type.
    """
    writer = _Writer(facts, variables, bound, distinct)
    waiting = list(literals)
    while waiting:
        literal = min(waiting, key=writer.cost)
        waiting.remove(literal)
        writer.join(literal)
    for name in (*variables, *wanted):
        if name.startswith("?") and name not in writer.names:
            writer.enumerate(name)
    return writer.finish(wanted)


class _Writer:
    """Writes the source of one query, loop by loop."""

    def __init__(self, facts: Facts, types: Mapping[str, str], bound: Sequence[str], distinct: bool) -> None:
        self.facts, self.types, self.distinct = facts, types, distinct
        self.names = {name: f"v{number}" for number, name in enumerate(bound)}
        self.parameters = list(self.names.values())
        self.prelude: dict[str, str] = {}
        self.body: list[str] = []
        self.depth = 1

    def cost(self, literal: Literal) -> tuple[float, str]:
        """Return the number of rows that a loop over `literal` would see now.

        A check costs 0, a literal that cannot loop waits.
        """
        positions = self._bound_positions(literal)
        if len(positions) == len(literal.arguments):
            return 0, ""
        if not literal.positive or literal.predicate == "=":
            return float("inf"), ""
        num_rows = len(self.facts.rows(literal.predicate))
        num_keys = len(self.facts.index(literal.predicate, positions)) if positions else 1
        return 1 + num_rows / max(1, num_keys), literal.predicate

    def join(self, literal: Literal) -> None:
        """Add a check, or a loop over the rows that fit what is bound so far."""
        if not literal.positive or literal.predicate == "=":
            for name in literal.variables:
                if name not in self.names:
                    self.enumerate(name)
        positions = self._bound_positions(literal)
        values = [self._value(literal.arguments[position]) for position in positions]
        if literal.predicate == "=":
            self._line(f"if {values[0]} {'==' if literal.positive else '!='} {values[1]}:")
        elif len(positions) == len(literal.arguments):
            rows = self._local("rows", literal.predicate)
            self._line(
                f"if ({''.join(value + ', ' for value in values)}) {'in' if literal.positive else 'not in'} {rows}:"
            )
        else:
            row = f"row{self.depth}"
            if positions:
                key = values[0] if len(values) == 1 else f"({', '.join(values)})"
                self._line(f"for {row} in {self._local('index', literal.predicate, positions)}.get({key}, NOTHING):")
            else:
                self._line(f"for {row} in {self._local('rows', literal.predicate)}:")
            for position, name in enumerate(literal.arguments):
                if position not in positions:
                    self._bind(name, f"{row}[{position}]")

    def enumerate(self, name: str) -> None:
        """Add a loop over all objects of a variable's type."""
        self.names[name] = f"v{len(self.names)}"
        self._line(f"for {self.names[name]} in {self._type(name)}:")
        self._keep_apart(name)

    def finish(self, wanted: Sequence[str]) -> Query:
        """Return the compiled function."""
        values = "".join(self._value(name) + ", " for name in wanted)
        looked_up = [f"    {name} = {source}" for source, name in self.prelude.items()]
        if self.body and self.body[0].startswith("    for") and looked_up and looked_up[0].startswith("    rows"):
            looked_up.insert(1, "    if not rows0:\n        return []")  # most conditions of most commands end here
        lines = [
            f"def query({', '.join(['facts', 'types', *self.parameters])}):",
            "    table = facts.table",
            *looked_up,
            "    found = []",
            *self.body,
            f"{'    ' * self.depth}found.append(({values}))",
            "    return found\n",
        ]
        space: dict[str, Any] = {"NOTHING": NOTHING}
        exec(compile("\n".join(lines), "<query>", "exec"), space)
        query: Query = space["query"]
        return query

    def _bind(self, name: str, value: str) -> None:
        if name in self.names:
            self._line(f"if {self.names[name]} == {value}:")
            return
        self.names[name] = f"v{len(self.names)}"
        self.body.append(f"{'    ' * self.depth}{self.names[name]} = {value}")
        self._line(f"if {self.names[name]} in {self._type(name)}:")
        self._keep_apart(name)

    def _keep_apart(self, name: str) -> None:
        if self.distinct:
            others = [other for other in self.names if other != name]
            if others:
                self._line(f"if {self.names[name]} not in ({''.join(self.names[other] + ', ' for other in others)}):")

    def _type(self, name: str) -> str:
        if name not in self.types:
            raise UnknownPddlError(f"expected a type for the variable {name}, got none")
        return self._local("type", self.types[name])

    def _local(self, kind: str, *what: Any) -> str:
        """Return a local name for what is looked up once per call."""
        source = {
            "rows": "table.get({!r}, NOTHING)",
            "index": "facts.index({!r}, {!r})",
            "type": "types.get({!r}, NOTHING)",
        }[kind]
        return self.prelude.setdefault(source.format(*what), f"{kind}{len(self.prelude)}")

    def _value(self, argument: str) -> str:
        return self.names[argument] if argument.startswith("?") else repr(argument)

    def _bound_positions(self, literal: Literal) -> tuple[int, ...]:
        return tuple(i for i, name in enumerate(literal.arguments) if not name.startswith("?") or name in self.names)

    def _line(self, opening: str) -> None:
        self.body.append(f"{'    ' * self.depth}{opening}")
        self.depth += 1
