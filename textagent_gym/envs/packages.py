"""The textworld and alfworld packages, imported and called without a trace on the process around them."""

from __future__ import annotations

import os
import random
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled

_lock = threading.RLock()


def import_textworld() -> Any:
    """Return the textworld package with its generator.

    Importing it draws from numpy's global generator, which is put back.
    """
    with _untouched():
        import textworld
        import textworld.challenges
        import textworld.envs.pddl
        import textworld.generator
        import textworld.gym
    return textworld


def import_alfworld() -> Any:
    """Return the module of the alfworld package that plays its text games.

    Raises:
        gymnasium.error.DependencyNotInstalled: Something that it needs is missing.
    """
    with _untouched():
        try:
            import alfworld.agents.environment.alfred_tw_env as alfred_tw_env
        except ImportError as error:
            raise DependencyNotInstalled(f"{error.name} is not installed: pip install alfworld") from error
    return alfred_tw_env


@contextmanager
def undisturbed() -> Iterator[None]:
    """Yield one thread at a time, without two warnings that tell a user nothing.

    They say that the interpreter knows no scores of games of one's own, and that a large game needed adjectives to tell
    its things apart. For calls that draw from textworld's module-wide generator, parse or write text, or start the
    interpreter.
    """
    with _lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Game '.*' is not fully supported")
        warnings.filterwarnings("ignore", message="Not enough variation for")
        yield


@contextmanager
def _untouched() -> Iterator[None]:
    """Put back what the packages change when they are imported: global generators, and variables (`ALFWORLD_DATA`)."""
    with _lock:
        python_state, numpy_state, variables = random.getstate(), np.random.get_state(), dict(os.environ)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
            for name in os.environ.keys() - variables.keys():
                del os.environ[name]
