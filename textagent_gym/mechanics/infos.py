"""Infos whose sub-goals are counted when they are read, and infos of several environments as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

COUNTED = "subgoals_done"
"""The key of an info whose value may be a function that counts it."""


class LazyInfo(dict[str, Any]):
    """A dictionary that counts `subgoals_done` when it is first read.

    Counting may take a search, which nobody pays for who does not ask. `dict(info)`, `{**info}`, comparisons and pickles
    read every value, and hold the number.
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        """Yield the keys; a class with this method is copied by its keys, not by its memory."""
        return super().__iter__()

    def count(self) -> None:
        """Replace the function by what it counts."""
        value = super().get(COUNTED)
        if callable(value):
            self[COUNTED] = value()


def _counting(name: str) -> Callable[..., Any]:
    """Return a method of `dict` that counts first, unless it reads another key alone."""
    method = getattr(dict, name)

    def read(self: LazyInfo, *args: Any) -> Any:
        if not (args and isinstance(args[0], str) and args[0] != COUNTED):
            for info in (self, *args):  # both sides of a comparison
                if isinstance(info, LazyInfo):
                    info.count()
        return method(self, *args)

    return read


_READERS = "__getitem__ get pop setdefault popitem items values copy __eq__ __ne__ __or__ __repr__"

for _name in _READERS.split():
    setattr(LazyInfo, _name, _counting(_name))


def merge_infos(infos: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one info with an array for each key, and after it, under "_key", a mask of the environments that have it.

    Equal to what `gymnasium.vector.VectorEnv._add_info` (1.x) makes of them one by one, and several times as fast: the first
    value of a key decides the type of its array, numbers and truth values have their own, dictionaries are merged likewise,
    and all else lies in arrays of objects. `subgoals_done` is counted when it is read.

    Args:
        infos: One for each environment; empty where there is none.
    """
    merged = LazyInfo()
    for key in dict.fromkeys(key for info in infos for key in info):
        places = [place for place, info in enumerate(infos) if key in info]
        values = [infos[place][key] for place in places] if key != COUNTED else []
        if key == COUNTED:
            merged[key] = partial(_counts, infos, places)
        elif key != "final_obs" and isinstance(values[0], dict):
            merged[key] = merge_infos([info.get(key, {}) for info in infos])
        else:
            merged[key] = _array(key, values, places, len(infos))
        mask = np.zeros(len(infos), dtype=np.bool_)
        mask[places] = True
        merged[f"_{key}"] = mask
    return merged


def _counts(infos: Sequence[Mapping[str, Any]], places: Sequence[int]) -> NDArray[Any]:
    return _array(COUNTED, [infos[place][COUNTED] for place in places], places, len(infos))


def _array(key: str, values: Sequence[Any], places: Sequence[int], num_envs: int) -> NDArray[Any]:
    """Return an array with the values of a key in their places."""
    first, kind = values[0], type(values[0])
    if key != "final_obs" and (kind in (int, float, bool) or issubclass(kind, np.number)):
        array = np.zeros(num_envs, dtype=kind)
        if all(type(value) is kind for value in values):
            array[places] = values
            return array
    elif key != "final_obs" and isinstance(first, np.ndarray):
        array = np.zeros((num_envs, *first.shape), dtype=first.dtype)
    else:
        array = np.full(num_envs, None, dtype=object)
    for place, value in zip(places, values, strict=True):
        array[place] = value
    return array
