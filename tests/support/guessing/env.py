"""The guessing game: the world says "higher" or "lower" until the number is named."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import Unpack

from textagent_gym.bench import measure
from textagent_gym.contract import EpisodeOptions, StepResult, Task
from textagent_gym.core import TextAgentEnv
from textagent_gym.mechanics.knobs import check_integer


class GuessingEnv(TextAgentEnv):
    """Guess a number; a sub-goal is done for each halving of the numbers that are still possible.

    Args:
        state_space_size: Numbers to guess from, at least 2.
        reward_density: See `TextAgentEnv`.
        **options: See `TextAgentEnv`.
    """

    units: ClassVar[dict[str, str]] = {"state_space_size": "numbers", "solution_length": "guesses"}
    rules: str = "Guess the number. A command is a number in digits."

    def __init__(
        self, *, state_space_size: int = 8, reward_density: float = 0.0, **options: Unpack[EpisodeOptions]
    ) -> None:
        check_integer("state_space_size", state_space_size, low=2)
        requested: dict[str, float] = {"state_space_size": state_space_size, "reward_density": reward_density}
        super().__init__(requested=requested, reward_density=reward_density, **options)
        self._size = state_space_size

    @property
    def backend(self) -> str:
        """Name of the program that plays the tasks."""
        return "arithmetic"

    def _new_task(self) -> Task:
        # Even numbers are train, odd ones test: no task is in both splits.
        number = 2 * int(self.np_random.integers(self._size // 2)) + (2 if self.split == "train" else 1)
        return self._find_task(f"guess-{number}-of-{self._size}-{self.split}")

    def _find_task(self, task_id: str) -> Task:
        numbers = {f"guess-{number}-of-{self._size}-{self.split}": number for number in range(1, self._size + 1)}
        if task_id not in numbers:
            raise ValueError(f"expected a task such as 'guess-3-of-{self._size}-{self.split}', got {task_id!r}")
        solution = bisect(numbers[task_id], self._size)
        return Task(
            task_id=task_id,
            solution=tuple(map(str, solution)),
            solution_is_shortest=False,
            subgoals_total=len(solution),
            measured={"state_space_size": self._size, "solution_length": len(solution)},
            split=self.split,
        )

    def _begin(self, task: Task) -> StepResult:
        self._range, self._guessed = (1, self._size), 0
        return self._turn_of(f"I think of a number from 1 to {self._size}.")

    def _play(self, command: str) -> StepResult:
        low, high = self._range
        if not command.isdecimal() or not command.isascii() or not low <= int(command) <= high:
            return self._turn_of(f"Expected a number from {low} to {high}.", valid=False)
        guess, number = int(command), int(self.task.task_id.split("-")[1])
        self._guessed += 1
        if guess == number:
            return self._turn_of("Yes!", won=True)
        self._range = (guess + 1, high) if guess < number else (low, guess - 1)
        return self._turn_of("Higher." if guess < number else "Lower.")

    def _turn_of(self, text: str, *, valid: bool = True, won: bool = False) -> StepResult:
        low, high = self._range
        return StepResult(
            text,
            subgoals_done=self._guessed,
            won=won,
            valid=valid,
            admissible=tuple(sorted(str(number) for number in range(low, high + 1))),
        )

    def _snapshot_backend(self) -> tuple[tuple[int, int], int]:
        return self._range, self._guessed

    def _restore_backend(self, task: Task, snapshot: tuple[tuple[int, int], int]) -> None:
        self._range, self._guessed = snapshot


def bisect(number: int, size: int) -> list[int]:
    """Return the guesses of bisection up to `number`."""
    low, high, guesses = 1, size, list[int]()
    while number not in guesses:
        guess = (low + high) // 2
        guesses.append(guess)
        low, high = (guess + 1, high) if guess < number else (low, guess - 1)
    return guesses


def prepare(
    env_id: str, options: dict[str, Any], seeds: Sequence[int], num_workers: int, out: Path | None
) -> Iterator[int]:
    """Yield once for each task; nothing has to be made."""
    yield from seeds


def compare(
    env_id: str, *, reference: str, num_steps: int, num_tasks: int, env_kwargs: dict[str, Any]
) -> dict[str, float | str]:
    """Return a measurement, as if bisection took no time."""
    return {**measure(env_id, num_steps=num_steps, num_tasks=num_tasks, env_kwargs=env_kwargs), "ratio": 0.0}
