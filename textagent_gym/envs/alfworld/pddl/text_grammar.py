"""ALFWorld's text grammar (`.twl2`), compiled: which words a command has, and which an answer.

A grammar rewrites symbols: `#rule#` by the first alternative of that rule whose condition holds, `{r.name}` by a property
of what a variable stands for, `{expression | condition}` by one copy for each way to make the condition true, and
`[...]` by a list with commas and an "and". Format: textworld 1.7.0, `envs/pddl/textgen/textgen.ebnf` and
`envs/pddl/logic/logic.ebnf`.
"""

from __future__ import annotations

import ast
import json
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from textagent_gym.envs.alfworld.pddl.parser import Literal, Row, UnknownPddlError
from textagent_gym.envs.alfworld.pddl.queries import Query, compile_query
from textagent_gym.envs.alfworld.pddl.state import Facts

Bound = tuple[tuple[str, str], ...]
"""(variable, type) of the variables that have a value, in the order in which the values are given."""


class GrammarContext(NamedTuple):
    """Subject of a text.

    Attributes:
        facts: Present facts.
        types: Type -> objects of that type.
        names: Object -> name.
        task: The sentence that states the task.
    """

    facts: Facts
    types: Mapping[str, frozenset[str]]
    names: Mapping[str, str]
    task: str


Renderer = Callable[[GrammarContext, Row], str]
"""`renderer(context, values)`, with one value for each bound variable."""


class UnknownGrammarError(ValueError):
    """Something in a grammar that is not understood here; ALFWorld's own engine may still understand it."""


class ActionText(NamedTuple):
    """The words of an action: a template of its command, and a start symbol of the answer to it."""

    template: str
    feedback: str


class Alternative(NamedTuple):
    """One way to rewrite a rule, open where its condition holds."""

    text: str
    condition: tuple[Literal, ...]
    types: dict[str, str]


class Grammar:
    """The rules of a grammar, compiled as they are asked for.

    Args:
        text: A `.twl2` document.
        facts: Typical facts, for the order of loops; any give the same texts.

    Attributes:
        actions: Name of an action, in lower case -> its words.
    """

    def __init__(self, text: str, facts: Facts) -> None:
        self.actions, self._rules = _read(text)
        self._facts = facts
        self._compiled: dict[tuple[str, Bound], Renderer] = {}

    def renderer(self, text: str, bound: Bound) -> Renderer:
        """Return the renderer of `text`.

        Raises:
            UnknownGrammarError: It leads to a rule that is missing or not understood.
        """
        key = text, bound
        if key not in self._compiled:
            self._compiled[key] = self._sequence(text, bound)
        return self._compiled[key]

    def _sequence(self, text: str, bound: Bound) -> Renderer:
        parts = [self._symbol(symbol, bound) for symbol in _symbols(text)]
        if len(parts) == 1:
            return parts[0]
        return lambda context, values: "".join([part(context, values) for part in parts])

    def _symbol(self, symbol: str, bound: Bound) -> Renderer:
        if symbol.startswith("#"):
            return self._rule(symbol[1:-1], bound)
        if symbol.startswith("{"):
            expression, condition = _split(symbol)
            return self._list(expression, condition, bound, between=None)
        if symbol.startswith("["):
            expression, condition = _split(symbol[1:-1])
            between = [self.renderer(f"#list_{name}#", bound) for name in ("empty", "separator", "last_separator")]
            return self._list(expression, condition, bound, between=between)
        return lambda context, values: symbol

    def _rule(self, name: str, bound: Bound) -> Renderer:
        if name == "task":
            return lambda context, values: context.task
        if name not in self._rules:
            raise UnknownGrammarError(f"expected a rule {name!r}, got none")
        choices: list[tuple[Query | None, Renderer]] = []
        for alternative in self._rules[name]:
            texts = self.renderer(alternative.text, bound)
            if not alternative.condition:
                choices.append((None, texts))
                break
            choices.append((self._query(alternative.condition, alternative.types, bound)[0], texts))
        else:
            raise UnknownGrammarError(f"expected the rule {name!r} to end with an alternative without condition")

        def render(context: GrammarContext, values: Row) -> str:
            for query, texts in choices:
                if query is None or query(context.facts, context.types, *values):
                    return texts(context, values)
            raise AssertionError("the last alternative has no condition")

        return render

    def _list(self, expression: str, condition: str, bound: Bound, between: Sequence[Renderer] | None) -> Renderer:
        literals, types = _condition(condition)
        query, found, pick = self._query(literals, types, bound) if literals else (None, bound, [])
        item = self.renderer(expression, found) if expression.startswith("#") else _expression(expression, found)

        def render(context: GrammarContext, values: Row) -> str:
            rows = [values]
            if query is not None:  # textworld tries the facts of each literal in turn, sorted
                matches = sorted(query(context.facts, context.types, *values))
                rows = [(*values, *(row[i] for i in pick)) for row in matches]
            items = [item(context, row) for row in rows]
            if between is None:
                return "".join(items)
            if len(items) < 2:
                return items[0] if items else between[0](context, values)
            comma, last = between[1](context, values), between[2](context, values)
            return f"{comma.join(items[:-1])}{last}{items[-1]}"

        return render

    def _query(
        self, literals: Sequence[Literal], types: dict[str, str], bound: Bound
    ) -> tuple[Query, Bound, list[int]]:
        """Return a query with the arguments of all literals as rows, the bound variables, and their positions."""
        known = dict(bound)
        for name, kind in types.items():
            if known.get(name, kind) != kind:
                raise UnknownGrammarError(f"expected {name} to be of type {known[name]}, got {kind}")
        new = {name: kind for name, kind in types.items() if name not in known}
        arguments = [name for literal in literals for name in literal.arguments]
        try:
            query = compile_query(literals, new, bound=list(known), wanted=arguments, facts=self._facts, distinct=True)
        except UnknownPddlError as error:
            raise UnknownGrammarError(str(error)) from error
        return query, (*bound, *new.items()), [arguments.index(name) for name in new]


def split_task(text: str) -> tuple[str, str]:
    """Return a grammar without the sentence that states the task, and that sentence.

    Raises:
        UnknownGrammarError: There is no such sentence, or it is more than plain words.
    """
    found = re.search(r'"task":\s*\[\s*\{\s*"rhs":\s*("(?:[^"\\]|\\.)*")', text)
    if found is None:
        raise UnknownGrammarError('expected a rule "task" with one alternative, got none')
    task = json.loads(found[1])
    if not re.fullmatch(r'(?![\s/])[^;|"<>\[\]#{}\t]+', task):
        raise UnknownGrammarError(f"expected a task in plain words, got {task!r}")
    return text[: found.start(1)] + '""' + text[found.end(1) :], task


_PART = re.compile(
    r'\s*(?:grammar\s*::\s*"""(?P<grammar>.*?)"""\s*;?'
    r'|action\s+(?P<name>[\w/-]+)\s*\{(?P<body>(?:""".*?"""|"[^"]*"|[^"}])*)\})\s*;?',
    re.DOTALL,
)
_FIELD = re.compile(r'\s*(template|feedback|grammar|pddl)\s*::\s*("""(?:.|\n)*?"""|"[^"]*")\s*;')
_SYMBOL = re.compile(r"#[\w()/!<>\-\s,.]+#|\{[^{}\[\]]*\}|\[\{[^{}\[\]]*\}\]|[^;|\"<>\[\]#{}]+")


def _read(text: str) -> tuple[dict[str, ActionText], dict[str, list[Alternative]]]:
    actions: dict[str, ActionText] = {}
    raw: dict[str, list[dict[str, str]]] = {}
    position = 0
    text = text.rstrip()
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            raise UnknownGrammarError(
                f"expected an action or a grammar, got {text[position : position + 40].strip()!r}"
            )
        position = part.end()
        if part["name"] is None:
            raw.update(_json(part["grammar"]))
            continue
        fields = {name: value.strip('"') for name, value in _FIELD.findall(part["body"])}
        if not {"template", "feedback"} <= set(fields):
            raise UnknownGrammarError(f"expected the action {part['name']} to have a template and a feedback")
        actions[part["name"].lower()] = ActionText(fields["template"], fields["feedback"])
        raw.update(_json(fields.get("grammar", "{}")))
    rules = {name: [_alternative(choice) for choice in choices] for name, choices in raw.items()}
    return actions, rules


def _json(block: str) -> dict[str, list[dict[str, str]]]:
    lines = [line for line in textwrap.dedent(block).split("\n") if not line.lstrip().startswith("#")]
    try:
        rules: dict[str, list[dict[str, str]]] = json.loads("\n".join(lines))
    except json.JSONDecodeError as error:
        raise UnknownGrammarError(f"expected rules as JSON ({error})") from error
    if not isinstance(rules, dict) or not all(isinstance(choices, list) for choices in rules.values()):
        raise UnknownGrammarError(f"expected rules as a JSON object of lists, got {rules!r:.80}")
    for choice in (choice for choices in rules.values() for choice in choices):
        if not isinstance(choice, dict) or "rhs" not in choice or not all(isinstance(v, str) for v in choice.values()):
            raise UnknownGrammarError(f'expected an alternative with an "rhs", got {choice!r:.80}')
    return rules


def _alternative(choice: dict[str, str]) -> Alternative:
    literals, types = _condition(choice.get("condition", ""))
    return Alternative(choice["rhs"], literals, types)


def _symbols(text: str) -> list[str]:
    """Return the symbols of a right-hand side; white space at the start of a line belongs to no symbol."""
    symbols: list[str] = []
    position = 0
    while True:
        while position < len(text) and (
            text[position] == "\t" or (text[position].isspace() and _starts_line(text, position))
        ):
            position += 1
        if text.startswith("//", position) and _starts_line(text, position):
            raise UnknownGrammarError(f"expected no comment in {text!r}")
        if position >= len(text):
            return symbols
        symbol = _SYMBOL.match(text, position)
        if symbol is None:
            raise UnknownGrammarError(f"expected text, #rule#, {{expression}} or [list], got {text[position:]!r}")
        symbols.append(symbol[0])
        position = symbol.end()


def _starts_line(text: str, position: int) -> bool:
    before = text[:position].rstrip(" \t")
    return not before or before[-1] == "\n"


def _split(symbol: str) -> tuple[str, str]:
    expression, _, condition = symbol[1:-1].partition("|")
    return expression.strip(), condition


def _condition(text: str) -> tuple[tuple[Literal, ...], dict[str, str]]:
    """Return the literals of `atom(name:type, ...) & ...`, and the type of each name.

    `not_p` is a predicate like any other.
    """
    literals: list[Literal] = []
    types: dict[str, str] = {}
    for atom in filter(None, (part.strip() for part in text.split("&"))):
        found = re.fullmatch(r"([\w/-]+)\(([^()]*)\)", atom)
        if found is None:
            raise UnknownGrammarError(f"expected a condition such as opened(r:receptacle), got {atom!r}")
        names = []
        for argument in filter(None, (part.strip() for part in found[2].split(","))):
            name, separator, kind = (part.strip() for part in argument.partition(":"))
            if not separator or types.setdefault(f"?{name}", kind) != kind:
                raise UnknownGrammarError(f"expected name:type, got {argument!r} in {atom!r}")
            names.append(f"?{name}")
        literals.append(Literal(found[1], tuple(names)))
    return tuple(literals), types


def _expression(source: str, bound: Bound) -> Renderer:
    """Python's `+`, `or`, strings, variables and the properties that entities have in textworld."""
    places = {name: place for place, (name, _) in enumerate(bound)}

    def compiled(node: ast.expr) -> Renderer:
        match node:
            case ast.Constant(value=str(text)):
                return lambda context, values: text
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                first, second = compiled(left), compiled(right)
                return lambda context, values: first(context, values) + second(context, values)
            case ast.BoolOp(op=ast.Or(), values=nodes):
                choices = [compiled(choice) for choice in nodes]
                return lambda context, values: next(filter(None, (choice(context, values) for choice in choices)), "")
            case ast.Name(id=name) if f"?{name}" in places:
                return _property(places[f"?{name}"], "name")
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if f"?{name}" in places:
                return _property(places[f"?{name}"], attribute)
        raise UnknownGrammarError(f"expected names and their properties, got {source!r}")

    try:
        return compiled(ast.parse(source, mode="eval").body)
    except SyntaxError as error:
        raise UnknownGrammarError(f"expected an expression, got {source!r}") from error


def _property(place: int, attribute: str) -> Renderer:
    if attribute == "name":
        return lambda context, values: context.names[values[place]]
    if attribute == "id":
        return lambda context, values: values[place]
    if attribute not in _ARTICLES:
        raise UnknownGrammarError(f"expected a name, an id or an article, got .{attribute}")
    article = _ARTICLES[attribute]
    return lambda context, values: article


_ARTICLES = {"indefinite": "a", "definite": "the"}
