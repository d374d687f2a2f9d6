"""Docstrings open as Gymnasium's do, and words are those of the field."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("textagent_gym", "baselines", "benchmarks", "docs", "tests")
QUESTION_WORDS = ("What", "Who", "Whose", "Whom", "Where", "When", "How", "Whether", "Which", "Those")
BUNDLED = "textagent_gym/envs/swe/bundled"
"""Libraries whose text is part of frozen digests."""

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not path.is_relative_to(ROOT / BUNDLED):
                yield path


def openings(text: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the first word of each docstring of a module, class, function or attribute."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, Documented) and (docstring := ast.get_docstring(node)) is not None:
            yield getattr(node, "name", "module"), re.split(r"\W+", docstring, maxsplit=1)[0]
        if isinstance(node, ast.Module | ast.ClassDef):
            for statement, after in pairwise(node.body):
                match statement, after:
                    case ((ast.Assign() | ast.AnnAssign()), ast.Expr(ast.Constant(str(docstring)))):
                        yield (
                            ast.unparse(statement).split(" ", 1)[0],
                            re.split(r"\W+", docstring.strip(), maxsplit=1)[0],
                        )


def test_no_docstring_opens_with_a_question_word() -> None:
    paths = list(sources())
    assert len(paths) > 300
    wrong = [
        f"{path.relative_to(ROOT)}: {name} opens with {word}"
        for path in paths
        for name, word in openings(path.read_text())
        if word in QUESTION_WORDS
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("word", QUESTION_WORDS)
def test_openings_are_found(word: str) -> None:
    body = f'"""{word} it is."""'
    source = f"{body}\nclass A:\n    {body}\n    async def f():\n        {body}\n        def g():\n            {body}\n"
    source += f"C = 1\n{body}\nclass B:\n    d: int = 2\n    {body}\n"
    assert sorted(openings(source)) == sorted((name, word) for name in ("module", "A", "f", "g", "C", "d:"))


HOUSE_WORDS = {
    r"told": "given, shown, reported",
    r"practis\w+|practice (?=of|games|on|adds|episodes)": "train, RL training",
    r"[Tt]he clone": "the SFT policy",
    r"cook\((?=config)|judge\((?=policy)": "train, evaluate",
    r"Recipe": "TaskSpec",
    r"retell|stand_by": "replace_observation, skip_turn",
    r"tale": "quest_state",
    r"Chore|read_errands": "DrawnGoal, read_goals",
    r"class (Turn|Reply|Outcome)\(NamedTuple\)": "StepResult",
    r"Verdict|TaskRecord\b(?!\()|Workshop|(?<!: \")num_(aliased|twinned)": "GradingReport, TaskInstance, BugFinder",
    r"HeldOut|Transcribed": "Evaluator, EpisodeWriter",
    r"claim_folder|nothing_of|in_pieces|share_of_silent_groups": "write_config, empty_row, score_in_chunks",
    r"_?Seats?\b|_?seats?\b": "EpisodeRunner, PlayerState, slot",
    r"Lab\b|Sheet\b|\.places\(": "ExperimentRun, Page, episode_keys",
    r"Story\b|Speech\b": "CompiledGame, Renderer",
    r"Situation|situation": "AbstractState, state",
    r"Looking\(|Placing\(|placings": "ExamineGoal, PlaceGoal",
    r"Scene\b": "ActionContext, GrammarContext",
    r"cloned polic|dear\b|at hand": "SFT policy, expensive, available",
    r"anew\b|beside\b": "again; next to, in addition to",
    r"\.judge\(|def judge\b": "evaluate_goals, grade",
}
"""Pattern -> words of the field to use instead."""

RECORDS = ("docs/experiments", "docs/choose.md", "benchmarks/experiments", "benchmarks/results")
"""Measurements as they were published, and pages that quote them."""


def test_house_words_are_not_used() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    wrong = []
    for path in [*sources(), *pages]:
        name = str(path.relative_to(ROOT))
        if name.startswith(RECORDS) or name == "tests/meta/test_language.py":
            continue
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            for pattern, better in HOUSE_WORDS.items():
                if re.search(rf"\b(?:{pattern})", line):
                    wrong.append(f"{name}:{number}: expected {better}, got: {line.strip()}")
    assert not wrong, "\n".join(wrong)
