"""The command line of the benchmarks: `python -m benchmarks COMMAND ...`."""

from __future__ import annotations

import sys
from importlib import import_module
from inspect import signature

import tyro

from baselines.errors import one_line_errors

COMMANDS = {
    "run": ("benchmarks.runs.run", "play a suite with an agent"),
    "import": ("benchmarks.runs.imported", "replay actions that were chosen elsewhere, and make a run of them"),
    "scores": ("benchmarks.leaderboard.show", "show the scores of runs, with intervals"),
    "verify": ("benchmarks.runs.verify", "replay the episodes of a run and compare every reward"),
    "submit": ("benchmarks.leaderboard.submit", "add a verified run to the results"),
    "push": ("benchmarks.exchange.push", "push a suite, a run or demonstrations to the Hugging Face hub"),
    "load": ("benchmarks.exchange.load", "load one of them, held to its digests"),
    "leaderboard": ("benchmarks.leaderboard.leaderboard", "render the tables and the site"),
    "experiment": ("benchmarks.experiments.experiment", "train and evaluate the arms of an experiment"),
    "freeze": ("benchmarks.suites.freeze", "freeze a suite"),
    "demo": ("benchmarks.demo", "train a small model and compare it with its start"),
    "gpu": ("benchmarks.gpu", "run what needs a GPU, in stages: tests, speed, RL with a larger model"),
    "interop": ("benchmarks.interop", "run the tests of other libraries"),
    "speed": ("benchmarks.speed.environments", "measure environments against their references"),
    "learning": ("benchmarks.speed.learning", "measure how fast trainers learn"),
    "speed-vector": ("benchmarks.speed.vector", "measure vector environments"),
    "speed-training": ("benchmarks.speed.training", "measure rollouts and updates against other trainers"),
}
"""Command -> module whose `main` takes its options, and one line of help."""


def main() -> None:
    """Run the command that the first argument names; what a user can mend ends it with one line."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        lines = [f"  {command:<16}{text}" for command, (_, text) in COMMANDS.items()]
        sys.stdout.write("\n".join(["usage: python -m benchmarks COMMAND [options]", "", *lines, ""]))
        return
    if name not in COMMANDS:
        raise SystemExit(f"error: expected a command among {', '.join(COMMANDS)}, got {name!r}")
    program = f"python -m benchmarks {name}"
    sys.argv = [program, *sys.argv[2:]]
    module = import_module(COMMANDS[name][0])
    with one_line_errors():
        try:
            if not signature(module.main).parameters:  # it reads the command line by itself
                module.main()
            else:
                tyro.cli(module.main, prog=program, description=module.__doc__, config=(tyro.conf.OmitArgPrefixes,))
        except OSError as error:
            raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
