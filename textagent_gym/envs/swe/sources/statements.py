"""Task descriptions for the agent: the statement, and hints that give more from level to level."""

from __future__ import annotations

from textagent_gym.envs.swe.types import TaskInstance

HINT_LEVELS = ("none", "files", "functions", "failing tests", "kinds of bug")
"""Text added at each level to that of the levels below."""

MAX_TESTS_LISTED = 20


def statement(instance: TaskInstance, hint_level: int) -> str:
    """Return the problem statement with the hints up to `hint_level` (0 to 4)."""
    parts = [instance.problem_statement.strip()]
    if hint_level >= 1 and instance.bugs:
        parts.append("Places to look at:\n" + "\n".join(f"- {line}" for line in _places(instance, hint_level)))
    if hint_level >= 3:
        tests = sorted(instance.FAIL_TO_PASS)
        lines = [f"- {test}" for test in tests[:MAX_TESTS_LISTED]]
        if len(tests) > MAX_TESTS_LISTED:
            lines.append(f"- and {len(tests) - MAX_TESTS_LISTED} more")
        parts.append("Tests that fail:\n" + "\n".join(lines))
    return "\n\n".join(parts)


def mutation_statement(project: str, version: str, num_bugs: int) -> str:
    """Return the problem statement of a task made by mutation."""
    bugs = "A bug was" if num_bugs == 1 else f"{num_bugs} bugs were"
    each = "It sits in one function and makes" if num_bugs == 1 else "Each sits in a function of its own and makes"
    return (
        f"{bugs} put into {project} {version}. {each} tests fail that passed before. "
        "Repair the source so that all tests pass again; the tests are right as they are."
    )


def _places(instance: TaskInstance, hint_level: int) -> list[str]:
    lines = []
    for bug in instance.bugs:
        line = bug.file
        if hint_level >= 2 and bug.function:
            line += f", {bug.function}"
        if hint_level >= 4 and bug.kind:
            line += f": {bug.kind}"
        lines.append(line)
    return sorted(set(lines)) if hint_level == 1 else lines
