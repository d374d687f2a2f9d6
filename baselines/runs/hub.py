"""Policies on the Hugging Face hub: a model card made from the run, and the upload of the saved folder."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, HfApi, ModelCardData, get_token
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # of a module that imports lazily

from baselines.config.settings import RolloutSettings
from baselines.errors import ConfigError
from baselines.models.policy import TINY
from baselines.models.pretrained import TINY_BASE, WHEELS
from baselines.runs.files import write_whole
from baselines.runs.log import Record, warn

_NOT_OF_A_PLAY = {"temperature", "num_envs", "env_workers", "max_broken_envs", "chat_template"}


def check_push(repo_id: str) -> None:
    """Refuse a push that cannot succeed, without contacting the hub.

    Raises:
        ConfigError: the hub has no such names, or there is no token.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ConfigError(f"expected push_to_hub to be USER/NAME, got {repo_id!r}: {error}") from error
    if get_token() is None:
        raise ConfigError("expected a token of the hub for push_to_hub (hf auth login, or HF_TOKEN), got none")


def push_policy(folder: Path, repo_id: str, card: str) -> str:
    """Write a model card into the folder of a policy, and upload the folder; a new repository is private.

    A failure is one line of warning with the command that pushes again; the folder stays.

    Returns:
        The address of the repository, "" after a failure.
    """
    write_whole(folder / "README.md", card)
    try:
        api = HfApi()
        url = api.create_repo(repo_id, private=True, exist_ok=True)
        api.upload_folder(repo_id=url.repo_id, folder_path=str(folder), commit_message="Upload a policy")
    except Exception as error:  # the network, the hub, and its client may raise anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        command = shlex.join(["hf", "upload", repo_id, str(folder), ".", "--private"])
        warn(f"the policy was not pushed to the hub ({reason}); it is in {folder}, push it again with: {command}")
        return ""
    return str(url)


def make_card(config: Any, env_ids: Sequence[str], records: Sequence[Record], algorithm: str, repo_id: str) -> str:
    """Return the README.md of a policy: base model, environments, algorithm, held-out success, commands, settings.

    Args:
        config: the algorithm's frozen `Config`.
        env_ids: environments that were trained on; each is named once.
        records: lines of metrics.jsonl; the last one with an evaluation is reported.
        algorithm: its name.
        repo_id: name of the repository.
    """
    env_ids = list(dict.fromkeys(env_ids))
    evaluated = [record for record in records if "eval/success_rate" in record][-1:]
    results = [
        EvalResult(
            task_type="reinforcement-learning",
            dataset_type=config.env_id,
            dataset_name=", ".join(env_ids),
            metric_type="success_rate",
            metric_value=record["eval/success_rate"],
            metric_name="held-out success rate, greedy",
        )
        for record in evaluated
    ]
    is_local = config.model in (TINY, TINY_BASE, *WHEELS) or Path(config.model).exists()  # not a name on the hub
    data = ModelCardData(
        base_model=None if is_local else config.model,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["reinforcement-learning", "textagent-gym", algorithm.lower()],
        model_name=repo_id.rpartition("/")[2],
        eval_results=results or None,
    )
    lines = [
        f"# {repo_id.rpartition('/')[2]}",
        "",
        f"A policy of text environments, trained with {algorithm}.",
        "",
        "| | |",
        "| --- | --- |",
        f"| base model | `{config.model}` |",
        f"| environments | {', '.join(f'`{env_id}`' for env_id in env_ids)} |",
        f"| algorithm | {algorithm} (`{module_of(config)}`) |",
        f"| steps | {records[-1]['step'] if records else 0} |",
        f"| seed | {config.run.seed} |",
        "",
        "## Held-out success",
        "",
        *_held_out_lines(config, evaluated[0] if evaluated else {}),
        "## Commands",
        "",
        "```",
        command_line(config),
        evaluation_line(config, repo_id),
        "```",
        "",
        "## Settings",
        "",
        "```json",
        json.dumps(dataclasses.asdict(config), indent=2, default=str),
        "```",
    ]
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(lines) + "\n"


def command_line(config: Any) -> str:
    """Return the command that runs a configuration: the options that differ from the algorithm's defaults."""
    words = ["python", "-m", module_of(config), "--env-id", config.env_id]
    return shlex.join(words + option_words(config, type(config)(env_id=config.env_id)))


def evaluation_line(config: Any, repo_id: str) -> str:
    """Return the command that evaluates the pushed policy as the run did."""
    env_kwargs = {**config.env_kwargs, **config.run.eval_env_kwargs}
    words = ["python", "-m", "baselines.evaluate", "--env-id", config.env_id, "--model", repo_id]
    words += _words("env_kwargs", env_kwargs) if env_kwargs else []
    if config.run.eval_tasks is not None:
        words += _words("eval_tasks", config.run.eval_tasks)
    elif config.run.eval_episodes:
        words += ["--num-episodes", str(config.run.eval_episodes), "--first-seed", str(config.run.eval_first_seed)]
    return shlex.join(words + option_words(config.rollout, RolloutSettings(), _NOT_OF_A_PLAY))


def option_words(config: Any, default: Any, left_out: Set[str] = frozenset()) -> list[str]:
    """Return the options that differ from those of `default`, as words of a command line."""
    usual, changed = _options(default), _options(config)
    names = [name for name in changed if changed[name] != usual[name] and name not in left_out]
    return [word for name in names for word in _words(name, changed[name])]


def module_of(config: Any) -> str:
    """Return the name of the module that trains with a configuration, also where it is the program itself."""
    name = type(config).__module__
    spec = getattr(sys.modules[name], "__spec__", None)
    return name if spec is None else str(spec.name)


def _held_out_lines(config: Any, last: Record) -> list[str]:
    if not last:
        return ["The run had no held-out evaluation.", ""]
    played = (
        f"{config.run.eval_tasks} tasks, once each" if config.run.eval_tasks else f"{config.run.eval_episodes} seeds"
    )
    lines = [
        f"After step {last['step']}: {played}, of each environment.",
        "",
        "| play | success rate | 95 % interval |",
        "| --- | --- | --- |",
    ]
    for play, prefix in (("greedy", "eval/"), ("sampled at temperature 1", "eval/sampled_")):
        if f"{prefix}ci_low" in last:
            rate, low, high = (last[f"{prefix}{name}"] for name in ("success_rate", "ci_low", "ci_high"))
            lines.append(f"| {play} | {rate:.3f} | [{low:.3f}, {high:.3f}] |")
    for key, value in last.items():
        if key.startswith("eval/success_rate/"):
            lines.append(f"| greedy, `{key.removeprefix('eval/success_rate/')}` | {value:.3f} | |")
    return [*lines, ""]


def _options(config: Any) -> dict[str, Any]:
    """Return options by the names of the command line."""
    options: dict[str, Any] = {}
    for part in dataclasses.fields(config):
        value = getattr(config, part.name)
        options |= _options(value) if dataclasses.is_dataclass(value) else {part.name: value}
    return options


def _words(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag.removeprefix('--')}"]
    if name == "chat_template":
        return [flag, "chat_template.jinja"]  # as the policy's folder names it
    if name == "curriculum" and not isinstance(value, str):
        return [flag, "curriculum.json"]  # a file with the stages that are among the settings
    if isinstance(value, dict):
        return [flag, json.dumps(value)]
    return [flag, *map(str, value if isinstance(value, tuple) else (value,))]
