"""Imports point one way, and importing the package brings no domain library, no torch and no output."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "textagent_gym": {"torch", "transformers", "baselines", "benchmarks"},
    "baselines": {"textagent_gym", "benchmarks", "textworld", "alfworld", "swebench"},
    "benchmarks": {"textworld", "alfworld", "swebench"},
}
DOMAIN_LIBRARIES = {"textworld", "alfworld", "swebench"}


def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Return dotted names that a file imports, anywhere or at module level outside `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add(node.module or "")
    return names


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_no_arrow_points_back(package: str) -> None:
    assert files(package)
    for path in files(package):
        wrong = {name for name in imports(path) if name.split(".")[0] in FORBIDDEN[package]}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_domains_do_not_know_each_other() -> None:
    for folder in sorted((ROOT / "textagent_gym" / "envs").iterdir()):
        others = {f"textagent_gym.envs.{other.name}" for other in folder.parent.iterdir()} - {
            f"textagent_gym.envs.{folder.name}"
        }
        for path in folder.rglob("*.py"):
            wrong = {name for name in imports(path) if any(name.startswith(other) for other in others)}
            assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_algorithms_do_not_import_each_other() -> None:
    algorithms = {"sft", "ppo", "grpo", "rloo", "reinforce_pp"}
    for name in algorithms:
        path = ROOT / "baselines" / f"{name}.py"
        if path.exists():
            assert not imports(path) & {f"baselines.{other}" for other in algorithms - {name}}


def test_shared_rooms_import_no_domain_library() -> None:
    for path in (ROOT / "textagent_gym").glob("*.py"):
        wrong = {name for name in imports(path) if name.split(".")[0] in DOMAIN_LIBRARIES}
        assert not wrong, f"{path.name} imports {wrong}"


def test_importing_the_package_is_light_and_silent() -> None:
    code = (
        "import textagent_gym, textagent_gym.envs.textworld.env, textagent_gym.envs.alfworld.env;"
        "import textagent_gym.envs.swe.env;"
        "import textagent_gym.testing, sys;"
        "sys.exit(', '.join({'textworld', 'alfworld', 'torch', 'transformers', 'jericho'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
