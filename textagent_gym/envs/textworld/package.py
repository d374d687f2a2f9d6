"""The textworld package, imported and called without a trace on the process around it."""

from __future__ import annotations

import random
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

_lock = threading.RLock()


def import_textworld() -> Any:
    """The textworld package with its generator; importing it draws from numpy's global generator, which is put back."""
    with _lock:
        python_state, numpy_state = random.getstate(), np.random.get_state()
        try:
            import textworld
            import textworld.challenges
            import textworld.generator
            import textworld.gym
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
    return textworld


@contextmanager
def undisturbed() -> Iterator[None]:
    """One thread at a time, without two warnings that tell a user nothing.

    They say that the interpreter knows no scores of games of one's own, and that a large game needed adjectives to tell
    its things apart. For calls that draw from textworld's module-wide generator, write text, or start the interpreter.
    """
    with _lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Game '.*' is not fully supported")
        warnings.filterwarnings("ignore", message="Not enough variation for")
        yield
