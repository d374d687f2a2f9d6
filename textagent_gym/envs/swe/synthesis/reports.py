"""Problem statements that read like reports of users: what was called, what was expected, and what came instead.

They are made from a run of the failing tests on this machine, so a text may differ between versions of Python.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Collection
from dataclasses import replace

from textagent_gym.envs.swe.grading.grader import time_limit
from textagent_gym.envs.swe.grading.pytest_runs import run_tests
from textagent_gym.envs.swe.repo.text import shown_lines
from textagent_gym.envs.swe.repo.tree import Tree, as_text, is_test
from textagent_gym.envs.swe.sandboxes.base import Sandbox
from textagent_gym.envs.swe.tasks import base_tree, patched, requirements_of
from textagent_gym.envs.swe.types import Bug, TaskInstance

MAX_LINES = 12
"""Most lines of a test, and of what it said, that a report shows."""

MAX_LINE = 200
"""Longest line of a report, in characters."""

MAX_MESSAGE = 20_000
"""Longest account of a failure that is read, in characters."""

MASK = "<function>"
"""Text in place of the name of a function with a bug."""

_FRAME = re.compile(r"^(\S.*?):(\d+): in .+$", re.MULTILINE)
_CHAIN = re.compile(r"\n\n(?:During handling of|The above exception was)[^\n]*\n")
_NOT_RAISED = re.compile(r"^(?:Failed: DID NOT RAISE (?:<class ')?([\w.]+)|AssertionError: (\w+) not raised)")
_NOISE = re.compile(r"Use -v|\.\.\.Full output|Omitting \d|Skipping \d")

_reports: dict[tuple[str, str, str], str] = {}


def with_report(instance: TaskInstance, sandbox: Sandbox) -> TaskInstance:
    """Return a task whose statement reports one failing test of each bug, without the names of functions that have one.

    Raises:
        OSError: Its archive cannot be fetched.
        ValueError: Its patch does not fit.
        textagent_gym.envs.swe.sandboxes.base.SandboxError: The sandbox failed.
    """
    key = instance.instance_id, instance.setup_patch, sandbox.identity
    if key not in _reports:
        tree = patched(base_tree(instance, sandbox), instance.setup_patch)
        tests = [bug.tests[0] for bug in instance.bugs]
        run = run_tests(
            tree,
            tests,
            sandbox=sandbox,
            seconds=time_limit(instance.seconds or 12.0),
            num_messages=len(tests),
            message_length=MAX_MESSAGE,
            requirements=requirements_of(instance, tree),
        )
        found = [_report_of(tree, test, run.messages.get(test, "")) for test in tests]
        _reports[key] = masked(_statement(instance, found), hidden_names(instance.bugs))
    return replace(instance, problem_statement=_reports[key])


def _statement(instance: TaskInstance, reports: list[str]) -> str:
    name = f"{instance.repo.rpartition('/')[2]} {instance.version}"
    if len(reports) == 1:
        head, body = f"A report about {name}:", reports[0]
    else:
        head = f"{len(reports)} reports about {name}, each with a cause of its own:"
        body = "\n\n".join(f"Report {number}\n{text}" for number, text in enumerate(reports, start=1))
    return f"{head}\n\n{body}\n\nRepair the source so that all tests pass again; the tests are right as they are."


def _report_of(tree: Tree, test: str, message: str) -> str:
    case = test.partition("[")[2].removesuffix("]")
    return report(tree, message) + (f"\nCase: {case}" if case else "")


def report(tree: Tree, message: str) -> str:
    """Return the report of one failing test.

    Args:
        tree: The repository.
        message: pytest's short account of its failure.
    """
    message = _CHAIN.split(message)[-1]
    lines = [line[1:].removeprefix("   ") for line in shown_lines(message) if re.match(r"E(\s|$)", line)]
    asserted = next((place for place, line in enumerate(lines) if re.match(r"(AssertionError: )?assert ", line)), 0)
    first, *more = lines[asserted:] or ["a failure without a message"]
    parts = _steps(tree, message)
    if not_raised := _NOT_RAISED.match(first):
        parts.append(f"Expected: {not_raised[1] or not_raised[2]} is raised\nGot: no exception")
    elif compared := _compared(first):
        parts.append(f"Expected: {compared[1]}\nGot: {compared[0]}")
        more = [line for line in more if re.match(r" \+ +(where|and) ", line)]
    else:
        parts.append(f"Got: {first}")
    more = [line for line in more if line.strip() and not _NOISE.search(line)]
    if any(line.startswith(("  + ", "  - ")) for line in more):
        parts[-1] = "Difference (- expected, + got):"
    if more:
        parts.append(_block(more[:MAX_LINES]))
    return "\n".join(parts)


def _steps(tree: Tree, message: str) -> list[str]:
    """Return the docstring of the test function that failed, and its lines up to the failure, as far as they are known."""
    places = [(file, int(line)) for file, line in _FRAME.findall(message) if is_test(file) and file in tree]
    if not places:
        return []
    file, line = places[0]
    source = as_text(tree[file]) or ""
    around = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt) and node.lineno <= line]
    around = sorted((node for node in around if line <= (node.end_lineno or 0)), key=lambda node: node.lineno)
    function = next((node for node in around if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)), None)
    if function is None or around[-1] is function:
        return []
    text = ast.get_docstring(function)
    start = function.body[1 if text else 0].lineno - 1
    lines = textwrap.dedent("\n".join(shown_lines(source)[start : around[-1].end_lineno])).split("\n")
    return [*([text.partition("\n\n")[0]] if text else []), "Steps:\n" + _block(lines[-MAX_LINES:])]


def _compared(line: str) -> tuple[str, str] | None:
    """Return what a failed assertion got and what it expected, where it says both in full."""
    try:
        (node,) = ast.parse(line.removeprefix("AssertionError: ")).body
    except (SyntaxError, ValueError):
        return None
    test = node.test if isinstance(node, ast.Assert) else None
    if "..." in line or not isinstance(test, ast.Compare) or not isinstance(test.ops[0], ast.Eq | ast.Is):
        return None
    return ast.unparse(test.left), ast.unparse(test.comparators[0])


def _block(lines: list[str]) -> str:
    return "\n".join(f"    {line[:MAX_LINE]}".rstrip() for line in lines)


def hidden_names(bugs: Collection[Bug]) -> set[str]:
    """Return the names that would tell where the bugs are: those of functions; of classes for what a class itself calls."""
    names = set()
    for bug in bugs:
        *classes, name = bug.function.split(".")
        names |= {name, *(classes[-1:] if name in ("__init__", "__new__", "__call__") else ())}
    return names


def masked(text: str, names: Collection[str]) -> str:
    """Return a text without these names, addresses and paths of temporary files."""
    text = re.sub(r" at 0x[0-9A-Fa-f]+", "", text)
    text = re.sub(r"(?<=/tmp/)[^\s'\"]+", "...", text)
    text = re.sub(r"<function (\w+)>", r"\1", text)
    return re.sub(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(names)))})(?!\w)", MASK, text) if names else text
