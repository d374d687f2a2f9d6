"""The pages of the trainers say what the code does: every metric and option is there, and nothing that is not."""

from __future__ import annotations

import dataclasses
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest

from baselines import evaluate, grpo, ppo, pretrain, recipe, reinforce_pp, rft, rloo, sft
from baselines.config.settings import OptimiserSettings, RolloutSettings, RunSettings, TaskSettings, UpdateSettings
from baselines.endpoints.endpoint import EndpointSettings
from baselines.runs import curves, transcripts
from baselines.runs.log import Record
from benchmarks.speed import learning as learning_speed
from benchmarks.speed import training as training_speed
from tests.support.toy_text_env import TOY

DOCS = Path(__file__).parents[2] / "docs"
TRAINING = [DOCS / "training.md", *sorted((DOCS / "training").glob("*.md"))]
SHARED = "\n".join(page.read_text(encoding="utf-8") for page in TRAINING)
ALGORITHMS: dict[str, Any] = {"sft": sft, "grpo": grpo, "rloo": rloo, "ppo": ppo, "reinforce_pp": reinforce_pp}
ALGORITHMS["rft"] = rft
PAGES = {name: (DOCS / f"algorithms/{name}.md").read_text(encoding="utf-8") for name in ALGORITHMS}
GROUPS = (TaskSettings, RolloutSettings, UpdateSettings, OptimiserSettings, RunSettings)
NESTED = ("tasks", "rollout", "update", "optimiser", "run", "endpoint")
LAUNCHER = {"--num_processes", "--multi_gpu", "--use_fsdp", "--cpu", "--logdir", "--help", "--private"}
SERVER = {"--generation-config", "--logprobs-mode", "--weight-transfer-config"}
OF_A_SERVER = {"train/rollout_gap", "train/rollout_weight"}
"""Metrics that are logged only where a server samples; `test_vllm.py` reads them."""


def flat(config: Any) -> dict[str, Any]:
    """Return options as the command line names them, with their defaults."""
    options = {part.name: getattr(config, part.name) for part in dataclasses.fields(config) if part.name not in NESTED}
    for name in NESTED:
        if hasattr(config, name):
            options |= flat(getattr(config, name))
    return options


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def defaults_shown(text: str) -> dict[str, str]:
    """Return option -> default of every table whose first columns are these; a row may name several of both."""
    answer: dict[str, str] = {}
    for options, values in re.findall(r"^\| (`--[^|]*`) \| ([^|]*) \|", text, flags=re.MULTILINE):
        names, defaults = re.findall(r"`([^`]+)`", options), re.findall(r"`([^`]*)`", values)
        answer |= dict(zip(names, defaults, strict=False))
    return answer


def written(default: Any) -> str:
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """Return the first record of each algorithm, with everything switched on that logs a number of its own."""
    records = {}
    model = "tiny"
    for name, module in ALGORITHMS.items():
        shared: dict[str, Any] = {
            "env_id": TOY,
            "model": model,
            "rollout": RolloutSettings(max_new_tokens=2, max_context_tokens=128),
            "run": RunSettings(out=tmp_path_factory.mktemp(name), eval_episodes=2, num_threads=1, progress=False),
        }
        if name == "sft":
            config = sft.Config(num_demos=2, num_epochs=1, **shared)
        else:
            grouped = name in ("grpo", "rloo")
            sizes = {"groups_per_batch": 2, "group_size": 2} if grouped else {"episodes_per_batch": 4}
            shared |= {"credit": "step", "min_group_spread": 1e-3, "refill": 2} if grouped else {}
            config = module.Config(
                num_iterations=1,
                tasks=TaskSettings(num_train_seeds=4, also={TOY: 1.0}),
                # KL in the loss: then every algorithm takes its steps.
                update=UpdateSettings(kl_coef=0.0 if name == "rft" else 0.01),
                **sizes,
                **shared,
            )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(curves, "draw_curves", lambda *_: None)  # slower than all the rest
            result = module.train(config)
        records[name], model = result.records[0], str(result.model_folder)
    return records


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_metric_is_defined(name: str, logged: dict[str, Record]) -> None:
    rows = "\n".join(line for line in (SHARED + PAGES[name]).splitlines() if line.startswith("| `"))
    missing = [key for key in logged[name] if f"`{key.replace(TOY, 'ID')}`" not in rows]
    assert not missing, f"expected docs/training/metrics.md or docs/algorithms/{name}.md to define {missing}"


def test_every_metric_that_is_defined_is_logged(logged: dict[str, Record]) -> None:
    keys = {key for record in logged.values() for key in record}
    for text in (SHARED, *PAGES.values()):
        named = set(re.findall(r"`((?:train|eval|time)/\w+)`", text))
        assert named <= keys | OF_A_SERVER


@pytest.mark.parametrize("name", [*ALGORITHMS, "recipe"])
def test_every_option_is_named(name: str) -> None:
    module = ALGORITHMS.get(name, recipe)
    text = SHARED + PAGES.get(name, "")
    missing = [
        option
        for option in flat(module.Config(env_id=TOY))
        if not re.search(rf"`[^`\n]*{flag(option)}(?![\w-])|`{option}`", text)
    ]
    assert not missing, f"expected the pages to name the options {missing} of {name}"


def test_no_option_is_named_that_does_not_exist() -> None:
    configs = [module.Config(env_id=TOY) for module in (*ALGORITHMS.values(), recipe)]
    options = {flag(option) for config in configs for option in flat(config)}
    options |= {flag(f"no_{option}") for config in configs for option, value in flat(config).items() if value is True}
    others = (
        evaluate.Config(env_id=TOY, model="tiny"),
        transcripts.Config(file=Path("x")),
        training_speed.Config(),
        learning_speed.Config(),
    )
    for config in (*others, pretrain.Config()):
        options |= {flag(option) for option in flat(config)}
    for text in (SHARED, *PAGES.values(), (DOCS / "choose.md").read_text(encoding="utf-8")):
        assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text)) <= options | LAUNCHER | SERVER


@pytest.mark.parametrize("name", ALGORITHMS)
def test_defaults_of_an_algorithm(name: str) -> None:
    """The page lists every default that is the algorithm's own, with its value."""
    options, answer = flat(ALGORITHMS[name].Config(env_id=TOY)), defaults_shown(PAGES[name])
    assert answer == {option: written(options[option.removeprefix("--").replace("-", "_")]) for option in answer}
    shared = {option: default for group in GROUPS for option, default in flat(group()).items()}
    own = {option for option, default in options.items() if option in shared and shared[option] != default}
    assert {flag(option) for option in own} <= answer.keys()


def test_defaults_that_are_shared() -> None:
    options = {option: default for group in GROUPS for option, default in flat(group()).items()}
    options |= {"env_kwargs": {}, "model": "tiny", "num_iterations": 50}
    answer = defaults_shown(TRAINING[0].read_text(encoding="utf-8"))
    assert answer == {flag(option): written(options[option]) for option in options}


@pytest.mark.parametrize(
    ("page", "config", "required"),
    [
        ("budgets", recipe.Config(env_id=TOY), {"budget", "demo_cost", "sft_share", "sweep", "shares", "num_seeds"}),
        (
            "evaluation",
            evaluate.Config(env_id=TOY),
            {"num_episodes", "first_seed", "eval_tasks", *flat(EndpointSettings())},
        ),
    ],
)
def test_defaults_of_other_commands(page: str, config: Any, required: set[str]) -> None:
    options = flat(config)
    answer = defaults_shown((DOCS / "training" / f"{page}.md").read_text(encoding="utf-8"))
    assert answer == {option: written(options[option.removeprefix("--").replace("-", "_")]) for option in answer}
    assert {flag(option) for option in required} <= answer.keys()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_detail_names_what_implements_it(name: str) -> None:
    details = PAGES[name].partition("## Details\n")[2].partition("\n## ")[0]
    items = re.split(r"^\d+\. ", details, flags=re.MULTILINE)[1:]
    assert len(items) >= 5
    for item in items:
        places = re.findall(r"`([a-z_]+\.[\w.]+)`", item)
        assert places, f"expected the name of a function, got {item!r}"
        for place in places:
            assert callable(pkgutil.resolve_name(f"baselines.{place}"))


def test_links_lead_somewhere() -> None:
    for page in sorted(DOCS.rglob("*.md")):
        for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            path, _, heading = link.partition("#")
            if "://" in link:
                continue
            target = (page.parent / path).resolve() if path else page
            assert target.is_file(), f"{page.name}: {link}"
            text = target.read_text(encoding="utf-8") if target.suffix == ".md" else ""
            headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings}
            assert not heading or heading in anchors, f"{page.name}: {link}"
