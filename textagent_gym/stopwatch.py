"""Times of blocks of code."""

from __future__ import annotations

import gc
import time


class Stopwatch:
    """Takes the time of each `with` block, without the garbage collector, as `timeit` does.

    Where two engines are timed in one process, the collector would charge one for what the other keeps.

    Attributes:
        seconds: One figure a block.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __enter__(self) -> None:
        gc.disable()
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds.append(time.perf_counter() - self._started)
        gc.enable()
