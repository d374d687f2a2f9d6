"""Release tasks: what a real release repaired, made on the spot from two consecutive source distributions.

The index names the archives and the tests; the patch is the difference of their sources, the test patch that of their tests,
and the statement what the changelog gained.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from textagent_gym.envs.swe.repo.patches import make_patch
from textagent_gym.envs.swe.repo.text import shown_lines
from textagent_gym.envs.swe.repo.tree import Tree, is_source, is_test, patch_texts, texts
from textagent_gym.envs.swe.sources.projects import installed_tree, read_index
from textagent_gym.envs.swe.sources.sdists import sdist_tree
from textagent_gym.envs.swe.types import Sdist, TaskInstance

MAX_STATEMENT = 4_000
"""Characters of a changelog that a statement tells."""

_CHANGELOG = re.compile(
    r"(?:^|/)(?:change(?:s|log)?|history|news|release[-_ ]?notes)[^/]*\.?(?:md|rst|txt)?$", re.IGNORECASE
)


def release_instance(name: str) -> TaskInstance:
    """Return the instance of a release task that the index has.

    Raises:
        OSError: An archive cannot be fetched.
    """
    row = next(row for row in read_index("releases.json") if row["instance_id"] == name)
    before, after = (
        Sdist(project=row["project"], version=row[end][0], filename=row[end][1], sha256=row[end][2])
        for end in ("before", "after")
    )
    old, new = installed_tree(before), sdist_tree(after)
    return TaskInstance(
        instance_id=name,
        repo=before.project,
        base_commit=f"{before.project}=={before.version}",
        problem_statement=_statement(before, after, old, new),
        patch=_as_patch(old, _difference(old, new, tests=False)),
        test_patch=_as_patch(old, _difference(old, new, tests=True)),
        FAIL_TO_PASS=flat(row["fail_to_pass"]),
        PASS_TO_PASS=flat(row["pass_to_pass"]),
        version=before.version,
        origin="release",
        sdist=before,
        licence=row["licence"],
        seconds=row["seconds"],
    )


def _difference(old: Tree, new: Tree, *, tests: bool) -> dict[str, bytes | None]:
    """Return the differences between two trees in their sources, or in their tests and the files of their folders."""
    counts = is_test if tests else is_source
    paths = sorted(path for path in {*texts(old), *texts(new)} if counts(path) and ".dist-info/" not in path)
    return {path: new.get(path) for path in paths if old.get(path) != new.get(path)}


def _as_patch(old: Tree, changes: Mapping[str, bytes | None]) -> str:
    before = {path: old[path] for path in changes if path in old}
    after = {path: content for path, content in changes.items() if content is not None}
    return make_patch(patch_texts(before), patch_texts(after))


def _statement(before: Sdist, after: Sdist, old: Tree, new: Tree) -> str:
    gained: list[str] = []
    old_texts = texts(old)
    for path, text in sorted(texts(new).items()):
        if _CHANGELOG.search(path) and not is_source(path):
            known = set(shown_lines(old_texts.get(path, "")))
            gained += [line.rstrip() for line in shown_lines(text) if line not in known]
    notes = "\n".join(gained).strip()[:MAX_STATEMENT]
    head = f"{before.project} {before.version} lacks what its next release, {after.version}, brought"
    return f"{head}:\n\n{notes}" if notes else f"{head}; its changelog does not say what that is."


def flat(tests: Mapping[str, list[str]]) -> tuple[str, ...]:
    """Return the ids of tests, sorted, from their names by file."""
    return tuple(sorted(f"{path}::{name}" for path, names in tests.items() for name in names))
