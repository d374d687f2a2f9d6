"""Errors that are reported as one clear sentence instead of a traceback.

BaselinesError
├── ConfigError          an option is out of range, or the environment does not fit; raised before a model is loaded
├── ModelError           a model that does not exist, or that these trainers cannot use
│   └── ChatTemplateError    the chat template rewrites earlier turns, or never ends one
├── EnvironmentContractError    an environment returned something that is not text, or another shape of result
├── EndpointError        a model server cannot be reached, refuses, or answers with something else than a reply
│   └── ContextLengthError    a conversation is longer than the server's model can read
└── TrainingError        a run cannot go on: a loss that is not finite, a checkpoint that does not belong to it
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class BaselinesError(Exception):
    """An error whose message tells the user what to change."""


class ConfigError(BaselinesError):
    """An option is out of range or contradicts another one."""


class ModelError(BaselinesError):
    """A model or tokenizer cannot be loaded or used."""


class ChatTemplateError(ModelError):
    """A chat template cannot be extended turn by turn without rewriting what stands before."""


class EnvironmentContractError(BaselinesError):
    """An environment broke the contract of `gym.Env[str, str]`."""


class EndpointError(BaselinesError):
    """A model server cannot be reached, refuses a request, or answers with something that is no reply."""


class ContextLengthError(EndpointError):
    """A conversation is longer than the server's model can read."""


class TrainingError(BaselinesError):
    """A run cannot continue; its last checkpoint is intact."""


@contextmanager
def one_line_errors(how_to_go_on: Callable[[], str] | None = None) -> Iterator[None]:
    """End the program with one line instead of a traceback.

    Args:
        how_to_go_on: says it after an interruption.

    Raises:
        SystemExit: with the reason, where something that a user can mend is wrong, or with status 130 after Ctrl-C.
    """
    try:
        yield
    except BaselinesError as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        sys.stderr.write(f"\ninterrupted{f': {how_to_go_on()}' if how_to_go_on else ''}\n")
        raise SystemExit(130) from None  # by the shells' custom
