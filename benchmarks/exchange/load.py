"""Loads a data set that `python -m benchmarks push` made from the Hugging Face hub, and holds it to its digests.

    python -m benchmarks load USER/core-v0 --out suites/core-v0

A file that differs from its digest is refused, as is a suite that is not the published one; nothing is written then.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import tyro

from benchmarks.exchange.dataset_folder import CARD, DATA, MANIFEST, DatasetError, Manifest, check_folder, read_manifest
from benchmarks.exchange.hub import commit_of, download


def load(repo: str, out: Path, revision: str | None = None, digest: str | None = None) -> tuple[Manifest, str]:
    """Download a data set, check it, and return its manifest and the commit that was read; `out` is whole or not there.

    The arguments are those of `main`; None stands for the main branch, and for any manifest.

    Raises:
        BaselinesError: the hub has no such data set, it was not made by `push`, or a file differs from its digest.
    """
    if out.exists():
        raise DatasetError(f"expected a folder that does not exist yet, got {out}")
    out.parent.mkdir(parents=True, exist_ok=True)
    commit = commit_of(repo, revision)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=out.parent) as name:
        partial = Path(name)
        download(repo, [MANIFEST], commit, partial)
        names = DATA[read_manifest(partial, digest).kind]
        download(repo, [*names, CARD], commit, partial)
        manifest = check_folder(partial, digest)
        whole = partial / "whole"
        whole.mkdir()
        for file in (*names, MANIFEST, CARD):
            (partial / file).rename(whole / file)
        whole.rename(out)
    return manifest, commit


NEXT = {
    "suite": "next: python -m benchmarks run --suite {name} --agent random --out runs/random",
    "run": "next: python -m benchmarks verify {out}",
    "demonstrations": "next: python -m baselines.sft --env-id {name} --data {out}/demonstrations.jsonl",
}
"""Kind -> the command that uses it."""


def main(repo: tyro.conf.Positional[str], out: Path, revision: str | None = None, digest: str | None = None) -> None:
    """Load a suite, a run or demonstrations from the hub.

    Args:
        repo: data set of the hub, USER/NAME.
        out: folder that is made.
        revision: branch, tag or commit.
        digest: sha256 of its manifest, as `push` printed it; refuses any other.
    """
    manifest, commit = load(repo, out, revision, digest)
    sys.stdout.write(
        f"loaded {manifest.kind} {manifest.name} into {out}, commit {commit[:12]}: {len(manifest.files)} files as pushed\n"
        f"{NEXT[manifest.kind].format(name=manifest.name, out=out)}\n"
    )
