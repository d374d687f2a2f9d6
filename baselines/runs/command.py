"""Parts of every trainer's command line: flat options, one line for an error or an interruption, where the model lies."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import tyro

from baselines.config.settings import RunSettings
from baselines.errors import one_line_errors
from baselines.models.policy import silence_transformers
from baselines.runs.checkpoint import list_checkpoints
from baselines.runs.log import diagnose, warn
from baselines.runs.run import TrainResult, clear_failed_start, is_claimed


class RunConfig(Protocol):
    """Options of a command that trains."""

    @property
    def run(self) -> RunSettings: ...  # noqa: D102


C = TypeVar("C", bound=RunConfig)


def run_command(config_type: type[C], train: Callable[[C], TrainResult], description: str | None) -> None:
    """Read a configuration from the command line, train, and say where the model is.

    A start that fails leaves no file in a new folder, so that the corrected command may name the same one.

    Raises:
        SystemExit: with the reason, where something that a user can mend is wrong, or with status 130 after Ctrl-C.
    """
    silence_transformers()
    with one_line_errors():
        program = f"python -m baselines.{Path(sys.argv[0]).stem}"
        config = tyro.cli(config_type, prog=program, config=(tyro.conf.OmitArgPrefixes,), description=description)
    out, is_new = config.run.out, not is_claimed(config.run.out)
    with one_line_errors(lambda: how_to_go_on(out)):
        try:
            result = train(config)
        except BaseException:
            if is_new:
                clear_failed_start(out)
            raise
    for sign in diagnose(result.records, result.policy.model.config.get_text_config(decoder=True).vocab_size):
        warn(sign)
    sys.stdout.write(f"model saved in {result.model_folder}\n")
    if result.pushed_to:
        sys.stdout.write(f"model pushed to {result.pushed_to}\n")


def how_to_go_on(out: Path) -> str:
    """Return a sentence on continuing an interrupted run."""
    found = list_checkpoints(out / "checkpoints")
    if found:
        return f"the same command with --resume continues from {found[-1].folder}"
    return "there is no checkpoint to go on from; --checkpoint-every N writes one every N iterations"
