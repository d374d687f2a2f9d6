"""Imports point one way, and importing the package brings no domain library, no torch and no output."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Collection
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "textagent_gym": {"torch", "transformers", "baselines", "benchmarks"},
    "baselines": {"textagent_gym", "benchmarks", "textworld", "alfworld", "swebench"},
    "benchmarks": {"textworld", "alfworld", "swebench"},
}
DOMAIN_LIBRARIES = {"textworld", "alfworld", "swebench"}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Return dotted names that a file imports, anywhere or at module level outside `if TYPE_CHECKING`."""
    tree = parsed(path)
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


@cache
def dependencies() -> dict[str, set[str]]:
    """Return module -> modules of this project that it imports: in functions, for types alone, or by their packages."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in FORBIDDEN
        for path in files(package)
        if "bundled" not in path.parts
    }
    return {name: _imported(name, parsed(path), modules) for name, path in modules.items()}


def _imported(module: str, tree: ast.Module, modules: Collection[str]) -> set[str]:
    named: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            named |= {name if name in modules else str(node.module) for name in inner}
    # Importing a.b.c runs a and a.b; those around the module itself are running already.
    around = {".".join(name.split(".")[:length]) for name in named for length in range(1, name.count(".") + 1)}
    return {name for name in named | {name for name in around if not module.startswith(f"{name}.")} if name in modules}


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return what is left once modules that import nothing, or are not imported, are removed again and again."""
    left = {name: others - {name} for name, others in graph.items()}
    while True:
        imported = set().union(*left.values()) if left else set()
        kept = {name for name, others in left.items() if others and name in imported}
        if len(kept) == len(left):
            break
        left = {name: left[name] & kept for name in kept}
    return [{name, *others} for name, others in left.items()]


def test_there_are_no_circles() -> None:
    graph = dependencies()
    assert len(graph) > 240
    assert graph["textagent_gym.envs.textworld.world.state"] >= {"textagent_gym.envs.textworld.world.food"}
    assert not circles(graph)
    back = {**graph, "textagent_gym.envs.textworld.world.grounding": {"textagent_gym.envs.textworld.engine"}}
    assert circles(back)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from a import b", {"a.b", "a"}),
        ("from a import other", {"a"}),
        ("def f():\n    import a.b.c", {"a", "a.b", "a.b.c"}),
        ("if TYPE_CHECKING:\n    from d.e import C", {"d.e"}),
        ("import os", set()),
    ],
)
def test_all_kinds_of_imports_count(source: str, names: set[str]) -> None:
    assert _imported("d.f", ast.parse(source), {"a", "a.b", "a.b.c", "d", "d.e"}) == names


@pytest.mark.parametrize("domain", ["textworld", "alfworld"])
def test_engines_do_not_import_task_making(domain: str) -> None:
    graph = dependencies()
    reached, waiting = set[str](), [f"textagent_gym.envs.{domain}.engine"]
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting += graph[name] - reached
    assert not {name for name in reached if ".generation" in name or name.endswith(".tasks")}


def test_domains_do_not_know_each_other() -> None:
    for folder in sorted((ROOT / "textagent_gym" / "envs").iterdir()):
        others = {f"textagent_gym.envs.{other.name}" for other in folder.parent.iterdir()} - {
            f"textagent_gym.envs.{folder.name}"
        }
        for path in folder.rglob("*.py"):
            wrong = {name for name in imports(path) if any(name.startswith(other) for other in others)}
            assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_a_folder_holds_at_most_twelve_modules() -> None:
    folders = Counter(path.parent for package in FORBIDDEN for path in files(package) if "bundled" not in path.parts)
    assert len(folders) >= 40
    assert not {str(folder.relative_to(ROOT)): count for folder, count in folders.items() if count > 12}


def test_algorithms_do_not_import_each_other() -> None:
    algorithms = {"sft", "ppo", "grpo", "rloo", "reinforce_pp"}
    for name in algorithms:
        path = ROOT / "baselines" / f"{name}.py"
        if path.exists():
            assert not imports(path) & {f"baselines.{other}" for other in algorithms - {name}}


def test_shared_rooms_import_no_domain_library() -> None:
    package = ROOT / "textagent_gym"
    for path in [*package.glob("*.py"), *(package / "mechanics").glob("*.py")]:
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
