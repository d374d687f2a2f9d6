"""Every string is in the space, and shared memory is refused rather than filled with garbage."""

import gymnasium as gym
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textagent_gym.mechanics.spaces import AnyText


@given(st.text(max_size=50))
def test_any_string_up_to_the_length_is_a_member(text: str) -> None:
    space = AnyText(50)
    assert space.contains(text)
    assert not space.contains(text + "x" * (51 - len(text)))
    assert not space.contains(text.encode())


def test_samples_are_members_and_seeded() -> None:
    one, two = AnyText(100, seed=3), AnyText(100, seed=3)
    samples = [one.sample() for _ in range(50)]
    assert samples == [two.sample() for _ in range(50)]
    assert all(one.contains(sample) for sample in samples)
    assert len(set(samples)) > 40
    assert one == two != AnyText(99)


def test_async_vector_environment_with_shared_memory_is_refused() -> None:
    def make() -> gym.Env[str, str]:
        from tests.support.toy import CorridorEnv

        return CorridorEnv()

    with pytest.raises(TypeError, match="shared_memory=False"):
        gym.vector.AsyncVectorEnv([make], shared_memory=True)
