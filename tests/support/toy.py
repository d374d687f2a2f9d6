"""A domain of one corridor, to test what all domains share without any backend."""

from typing import Any, ClassVar

from textagent_gym.contract import StepResult, Task
from textagent_gym.core import TextAgentEnv


class CorridorEnv(TextAgentEnv):
    """Walk `length` doors east without falling into the pit in the west; "east", "west" and "stop" are the only commands."""

    units: ClassVar[dict[str, str]] = {"solution_length": "doors"}
    rules: ClassVar[str] = "Walk east."
    barred_verbs: ClassVar[frozenset[str]] = frozenset({"save"})

    def __init__(self, *, length: int = 4, **options: Any) -> None:
        super().__init__(requested={"solution_length": length}, **options)
        self.length = length
        self.place = 0
        self.played: list[str] = []

    @property
    def backend(self) -> str:
        return "toy"

    def _new_task(self) -> Task:
        return self._find_task(f"corridor-{int(self.np_random.integers(1000))}")

    def _find_task(self, task_id: str) -> Task:
        if not task_id.startswith("corridor-"):
            raise ValueError(f"expected a corridor, got {task_id!r}")
        return Task(
            task_id=task_id,
            solution=("east",) * self.length,
            solution_is_shortest=True,
            subgoals_total=self.length,
            measured={"solution_length": self.length},
            split=self.split,
            admissible_counts=(2,) * self.length,
            solution_numbers=(1,) * self.length,
        )

    def _begin(self, task: Task) -> StepResult:
        self.place = 0
        return self._say(f"Corridor {task.task_id}.")

    def _play(self, command: str) -> StepResult:
        self.played.append(command)
        if command == "stop":
            return self._say("You stop.", ended=True)
        moves = {"east": 1, "west": -1}
        if command not in moves:
            return self._say("What?", valid=False)
        self.place += moves[command]
        return self._say(f"Door {self.place}.")

    def _say(self, text: str, *, valid: bool = True, ended: bool = False) -> StepResult:
        return StepResult(text, self.place, won=self.place == self.length, lost=self.place < 0, ended=ended, valid=valid,
                    admissible=("east", "west"), points=10.0 * self.place)  # fmt: skip

    def _snapshot_backend(self) -> int:
        return self.place

    def _restore_backend(self, task: Task, snapshot: int) -> None:
        self.place = snapshot
