"""The space of all strings, which Gymnasium's `Text` is not: its default alphabet has no space character."""

from __future__ import annotations

import string
from typing import Any, NoReturn

from gymnasium.spaces import Text
from gymnasium.vector.utils import shared_memory


class AnyText(Text):
    """Every `str` of at most `max_length` characters; samples are printable ASCII of up to 40 characters.

    Args:
        max_length: Longest member, in characters.
        seed: Seed of `sample`.
        examples: Members that mean something; where there are any, samples are drawn from them.
    """

    def __init__(self, max_length: int, seed: int | None = None, examples: tuple[str, ...] = ()) -> None:
        super().__init__(max_length, min_length=0, charset=string.ascii_letters + string.digits + " ", seed=seed)
        self.examples = examples

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """Return a random string; `mask` and `probability` are those of `gymnasium.spaces.Text`."""
        if mask is None and probability is None:
            if self.examples:
                return self.examples[int(self.np_random.integers(len(self.examples)))]
            mask = (int(self.np_random.integers(min(self.max_length, 40) + 1)), None)
        return super().sample(mask=mask, probability=probability)

    def contains(self, x: Any) -> bool:
        """Return whether `x` is a string of at most `max_length` characters."""
        return isinstance(x, str) and len(x) <= self.max_length

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AnyText) and other.max_length == self.max_length

    def __repr__(self) -> str:
        return f"AnyText({self.max_length})"


@shared_memory.create_shared_memory.register(AnyText)
def _refuse_shared_memory(space: AnyText, n: int = 1, ctx: Any = None) -> NoReturn:
    raise TypeError(
        "expected AsyncVectorEnv(..., shared_memory=False) for text observations, got shared_memory=True; "
        'with gym.make_vec pass vector_kwargs={"shared_memory": False}'
    )
