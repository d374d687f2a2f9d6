"""Modules of `baselines` that one training call runs, from `main` to its first optimiser step.

`python -m tests.meta.test_training_path` lists them with their functions.
"""

import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from torch.optim.optimizer import register_optimizer_step_pre_hook

import baselines
from baselines import grpo

FOLDER = f"{Path(baselines.__file__).parent}/"
ENV_ID = "EvenOrOdd-v0"
COMMAND = ("grpo", "--env-id", ENV_ID, "--num-iterations", "1", "--group-size", "8", "--groups-per-batch", "4",
           "--max-new-tokens", "4", "--no-progress")  # fmt: skip
MOST = 22
"""Modules today; a change may lower it."""


class EvenOrOdd(gym.Env[str, str]):
    """Pays for an action with an even number of characters, so that random actions differ in their return."""

    def __init__(self) -> None:
        self.observation_space = spaces.Text(100)
        self.action_space = spaces.Text(1000)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        return "even or odd", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return "even or odd", float(len(action) % 2 == 0), True, False, {}


class _StopAtOptimiserStep(BaseException):
    pass


def functions_run(out: Path) -> dict[str, set[str]]:
    """Return module -> functions of it that ran before the first optimiser step; loading a module does not count."""
    gym.register(ENV_ID, EvenOrOdd)
    found: defaultdict[str, set[str]] = defaultdict(set)

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(FOLDER) and code.co_name != "<module>":
            found[code.co_filename.removeprefix(FOLDER)].add(code.co_name)

    def stop(*_: object) -> None:
        raise _StopAtOptimiserStep

    argv, sys.argv = sys.argv, [*COMMAND, "--out", str(out)]
    hook = register_optimizer_step_pre_hook(stop)
    sys.setprofile(note)
    try:
        grpo.main()
    except _StopAtOptimiserStep:
        return dict(found)
    finally:
        sys.setprofile(None)
        hook.remove()
        sys.argv = argv
        del gym.registry[ENV_ID]
    raise AssertionError("expected an optimiser step, got none")


def test_a_training_call_passes_through_few_modules(tmp_path: Path) -> None:
    found = functions_run(tmp_path / "run")
    assert {"grpo.py", "rl/losses.py", "sampling/rollout.py"} <= found.keys()
    assert len(found) <= MOST, "\n".join(sorted(found))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        run = functions_run(Path(folder) / "run")
    for module, names in sorted(run.items()):
        sys.stdout.write(f"{module}: {', '.join(sorted(names))}\n")
    sys.stdout.write(f"{len(run)} modules\n")
