"""Code on the pages runs as it stands there, every page is in the site's menu, and the API reference names real modules.

Blocks marked `python` run from the top of a page to its end, in one namespace. Blocks marked `py` need an outside library, a
downloaded model or a server: they are compiled, and the names that they import from this project are resolved. The tests of
stable-baselines3, TorchRL and SkyRL run theirs.
"""

from __future__ import annotations

import ast
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tests.meta import notebook
from tests.support.blocks import blocks
from textagent_gym.envs.swe.sources.formats import to_row
from textagent_gym.envs.swe.sources.index import indexed_instance, load_index
from textagent_gym.registration import DOMAINS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
}
OURS = {"textagent_gym", "baselines", "benchmarks"}
EXAMPLES = DOCS / "examples"


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(PAGES[page], "python")])
def test_the_blocks_of_a_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page == "docs/alfworld.md" and not os.environ.get("ALFWORLD_DATA"):
        pytest.skip("ALFWORLD_DATA does not name a folder with ALFWorld's games")
    monkeypatch.chdir(tmp_path)
    if page == "docs/swegym.md":
        instance = indexed_instance("bundled", next(iter(load_index("bundled"))))
        Path("tasks.jsonl").write_text(json.dumps(to_row(instance)) + "\n", encoding="utf-8")
    space: dict[str, Any] = {}
    for number, block in enumerate(blocks(PAGES[page], "python"), 1):
        exec(compile(block, f"<{page}, block {number}>", "exec"), space)


def defined(module: str) -> set[str]:
    """Return the names at the top level of a module of this project, which may need a library to be imported."""
    path = ROOT / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    names = {child.stem for child in path.glob("*.py")}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def check_imports(code: str, name: str) -> None:
    """Check that code compiles and that every name which it imports from this project exists."""
    for node in ast.walk(ast.parse(code, name)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OURS:
            missing = {alias.name for alias in node.names} - defined(node.module)
            assert not missing, f"{name}: {node.module} has no {missing}"


def test_the_readme_shows_what_its_code_prints(capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(r"^```python\n(.*?)^```\n\n```\n(.*?)^```", PAGES["README.md"], re.DOTALL | re.MULTILINE)
    assert found is not None
    exec(compile(found[1], "<README.md>", "exec"), {})
    assert capsys.readouterr().out == found[2]
    assert len(PAGES["README.md"].splitlines()) <= 120


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(PAGES[page], "py")])
def test_blocks_that_need_more_name_what_exists(page: str) -> None:
    for block in blocks(PAGES[page], "py"):
        check_imports(block, page)


def test_a_name_that_is_missing_is_found() -> None:
    check_imports("from textagent_gym.interop.ray import make_ray_vector", "page")
    with pytest.raises(AssertionError, match="has no"):
        check_imports("from textagent_gym.interop.ray import make_no_vector", "page")


def test_every_block_of_python_is_marked_so_that_a_test_reads_it() -> None:
    assert sum(len(blocks(PAGES[page], "python")) for page in PAGES) >= 8
    for page, text in PAGES.items():
        marks = set(re.findall(r"^```(\S+)", text, re.MULTILINE))
        assert marks <= {"python", "py", "sh", "yaml", "toml", "{"}, page


def test_every_id_of_given_tasks_is_named() -> None:
    given = [env_id for domain in DOMAINS.values() for env_id in domain.given]
    assert given
    assert all(f"`{env_id}`" in PAGES["docs/ids.md"] for env_id in given)


@pytest.mark.parametrize("page", [page for page in PAGES if "algorithms/" not in page])
def test_files_and_names_of_the_code_on_a_page_exist(page: str) -> None:
    for file in re.findall(
        r"(?<![\w/])(?:textagent_gym|baselines|benchmarks|docs)/[\w/-]+\.(?:py|json|png)\b", PAGES[page]
    ):
        assert "NAME" in file or (ROOT / file).is_file(), file
    for dotted in re.findall(r"\b(?:textagent_gym|baselines|benchmarks)(?:\.[a-z]\w*)+(?:\.[A-Z]\w*)*", PAGES[page]):
        module = dotted
        while not (path := ROOT / module.replace(".", "/")).is_dir() and not path.with_suffix(".py").is_file():
            module = module.rpartition(".")[0]
        rest = dotted.removeprefix(module).split(".")
        assert dotted.endswith(".md") or len(rest) < 2 or rest[1] in defined(module), dotted


def test_every_page_is_in_the_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    pages = {str(Path(page).relative_to("docs")) for page in PAGES if page.startswith("docs/")}
    assert set(re.findall(r"[\w/-]+\.md", menu)) == pages


def test_modules_of_the_reference_exist() -> None:
    modules = [name for text in PAGES.values() for name in re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)]
    assert len(modules) >= 40
    for module in modules:
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


INCLUDED = r'^--8<-- "examples/(\S+)"\n```\n(?:\n```\n(.*?)^```)?'
"""An example on its page, and the block of its output."""


def outputs() -> dict[str, str]:
    """Return example -> the output that the page shows, in the order of the page."""
    return dict(re.findall(INCLUDED, PAGES["docs/examples/index.md"], re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize(
    "example", ["tree_search.py", "team.py", pytest.param("own_environment.py", marks=pytest.mark.slow)]
)
def test_an_example_prints_what_its_page_shows(example: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, EXAMPLES / example], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    shown = outputs()[example]
    assert shown
    assert done.stdout.endswith(shown)


@pytest.mark.slow
def test_the_example_of_stable_baselines_learns_its_games() -> None:
    pytest.importorskip("sb3_contrib")
    assert runpy.run_path(str(EXAMPLES / "sb3.py"))["train"](12_288) >= 0.75


def test_the_example_of_searching_solves_every_game_and_looks_into_wrong_places_once() -> None:
    play = runpy.run_path(str(EXAMPLES / "alfworld_search.py"))["play"]
    env = gym.make("textagent_gym:ALFWorld-Medium-Dense-v0", preamble=False, expose_solution=True)
    longer = 0
    for seed in range(8):
        messages, solved = play(env, np.random.default_rng(seed), seed=seed)
        commands = [message["content"] for message in messages[1::2]]
        looked = [command for command in commands if command.startswith("open ")]
        assert solved
        assert len(looked) == len(set(looked))
        longer += len(commands) > len(env.reset(seed=seed)[1]["solution"])
    assert longer >= 4


def test_every_example_is_on_the_page_and_names_what_exists() -> None:
    paths = list(EXAMPLES.glob("*.py"))
    assert {path.name for path in paths} == outputs().keys()
    for path in paths:
        check_imports(path.read_text(encoding="utf-8"), path.name)


@pytest.mark.slow
def test_the_quickstart_prints_what_it_shows() -> None:
    cells = notebook.code_cells(EXAMPLES / "quickstart.ipynb")
    assert len(cells) >= 5
    assert notebook.run(cells) == [notebook.stored(cell) for cell in cells]
