"""Command line of every trainer: flat options, one line for an error, and the folder of the model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import tyro

from baselines.errors import BaselinesError
from baselines.models.policy import silence_transformers
from baselines.runs.diagnosis import diagnose
from baselines.runs.log import warn
from baselines.runs.run import TrainResult

C = TypeVar("C")


def run_command(config_type: type[C], train: Callable[[C], TrainResult], description: str | None) -> None:
    """Read a configuration from the command line, train, and say where the model is.

    Raises:
        SystemExit: with the reason, where something that a user can mend is wrong.
    """
    silence_transformers()
    try:
        config = tyro.cli(config_type, config=(tyro.conf.OmitArgPrefixes,), description=description)
        result = train(config)
    except BaselinesError as error:
        raise SystemExit(f"error: {error}") from error
    for sign in diagnose(result.records, result.policy.model.config.get_text_config(decoder=True).vocab_size):
        warn(sign)
    sys.stdout.write(f"model saved in {result.model_folder}\n")
