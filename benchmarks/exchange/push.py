"""Pushes a suite, a run or demonstrations to the Hugging Face hub as a data set, with a card and digests.

    python -m benchmarks push suite core-v0 USER/core-v0
    python -m benchmarks push run runs/mine USER/mine
    python -m benchmarks push demonstrations textagent_gym:TextWorld-Easy-Dense-v0 USER/easy --count 200

`huggingface_hub` sends it: log in once with `hf auth login`, or set HF_TOKEN. `python -m benchmarks load` is the way back.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import tyro

from baselines.config.settings import JsonObject, check_at_least
from benchmarks.exchange.dataset_folder import (
    MANIFEST,
    Manifest,
    write_card,
    write_demonstrations,
    write_run,
    write_suite,
)
from benchmarks.exchange.hub import upload
from benchmarks.runs.records import read_text
from benchmarks.runs.verify import verify
from benchmarks.suites.suite import sha256

app = tyro.extras.SubcommandApp()


@app.command(name="suite")
def push_suite(
    name: tyro.conf.Positional[str], repo: tyro.conf.Positional[str], licence: str = "mit", private: bool = False
) -> None:
    """Push a published suite: its file, and its tasks as rows.

    Args:
        name: of the suite, such as core-v0.
        repo: data set of the hub, USER/NAME; made if it is missing.
        licence: of the data set, as the hub names it.
        private: make a data set that only its owner reads, if it is missing.
    """
    _push(repo, lambda folder: write_suite(folder, name, licence), private)


@app.command(name="run")
def push_run(
    run: tyro.conf.Positional[Path], repo: tyro.conf.Positional[str], licence: str = "mit", private: bool = False
) -> None:
    """Push a run or an entry of the leaderboard, once every episode was replayed.

    Args:
        run: folder of the run.
        repo: data set of the hub, USER/NAME; made if it is missing.
        licence: of the data set, as the hub names it.
        private: make a data set that only its owner reads, if it is missing.
    """
    _push(repo, lambda folder: write_run(folder, verify(run), licence), private)


@app.command(name="demonstrations")
def push_demonstrations(
    env_id: tyro.conf.Positional[str],
    repo: tyro.conf.Positional[str],
    count: int = 100,
    first_seed: int = 0,
    env_kwargs: JsonObject | None = None,
    licence: str = "mit",
    private: bool = False,
) -> None:
    """Push play of an environment's expert as conversations, which SFT reads.

    Args:
        env_id: environment; `package:Id-v0` imports the package first.
        repo: data set of the hub, USER/NAME; made if it is missing.
        count: seeds that are played; episodes that fail are left out.
        first_seed: the first of them.
        env_kwargs: constructor options of the environment, as a JSON object.
        licence: of the data set, as the hub names it.
        private: make a data set that only its owner reads, if it is missing.
    """
    check_at_least("count", count, 1)
    check_at_least("first_seed", first_seed, 0)
    seeds = range(first_seed, first_seed + count)
    _push(repo, lambda folder: write_demonstrations(folder, env_id, env_kwargs or {}, seeds, licence), private)


def _push(repo: str, write: Callable[[Path], Manifest], private: bool) -> None:
    """Write a data set into a temporary folder and upload it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = write(folder)
        write_card(folder, manifest, repo)
        digest = sha256(read_text(folder / MANIFEST))
        address = upload(folder, repo, f"{manifest.kind} {manifest.name}: manifest {digest[:16]}", private)
    sys.stdout.write(
        f"pushed {manifest.kind} {manifest.name} to {address}\n"
        f"load it: python -m benchmarks load {repo} --out FOLDER --digest {digest}\n"
    )


def main() -> None:
    """Push from the command line."""
    app.cli(prog="python -m benchmarks push", description=__doc__)
