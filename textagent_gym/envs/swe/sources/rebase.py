"""Rebased rows: tasks of SWE-Gym and the like, moved from a commit in an image to the nearest earlier source distribution.

    python -m textagent_gym.envs.swe.sources.rebase ROWS OUT.jsonl

A row's repository lives in a container image. Its last release before the repair is on the package index, though, often
with its tests. Where both patches of the row apply there, and its tests fail before the repair and pass after it, the row is
a task that needs no image. It is a task of its own: the code is that of a release, tests that do not pass here are left
out, and the tests run with other versions of other packages. Scores on it are not the data set's.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import sysconfig
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import tyro
from packaging.version import InvalidVersion, Version

from textagent_gym.cache import cache_folder, keep, read_json
from textagent_gym.envs.swe.grading.grader import gold_run
from textagent_gym.envs.swe.grading.guards import split_id, whole_id
from textagent_gym.envs.swe.grading.pytest_runs import TestReport, run_tests, test_files
from textagent_gym.envs.swe.grading.runtime import distribution_name
from textagent_gym.envs.swe.repo.patches import FilePatch, apply_patch, make_patch, parse_patch
from textagent_gym.envs.swe.repo.text import lines_of
from textagent_gym.envs.swe.repo.tree import Tree, patch_texts, source_files
from textagent_gym.envs.swe.sandboxes.base import Sandbox
from textagent_gym.envs.swe.sandboxes.choose import choose_sandbox
from textagent_gym.envs.swe.sources.formats import from_row, read_instances, to_row, write_instances
from textagent_gym.envs.swe.sources.projects import installed_tree
from textagent_gym.envs.swe.sources.sdists import releases
from textagent_gym.envs.swe.tasks import patched, requirements_of
from textagent_gym.envs.swe.types import Sdist, TaskInstance

VERSION = 1
"""Of what rebasing does; a change makes every remembered row again."""

MAX_SECONDS = 300.0
"""Time limit of a run of a row's tests, in seconds."""

NAMES = {"facebookresearch/hydra": "hydra-core", "pvlib/pvlib-python": "pvlib"}
"""Repository -> name on the package index, where that is not the repository's own."""

REQUIREMENTS = {
    "dask": (
        "click==8.1.7",
        "cloudpickle==2.2.1",
        "fsspec==2022.11.0",
        "importlib-metadata==6.8.0",
        "locket==1.0.0",
        "numpy==1.23.5",
        "pandas==1.5.3",
        "partd==1.3.0",
        "python-dateutil==2.8.2",
        "pytz==2022.7.1",
        "pyyaml==6.0.1",
        "six==1.16.0",
        "toolz==0.12.0",
        "zipp==3.17.0",
    ),
}
"""Project -> wheels that its tests need besides pytest, where a row's column `requirements` (a list) does not say. Tests of
dask from 2021.7.0 to 2024.3.0 were seen to pass with these; wheels of this numpy exist up to Python 3.11."""


def rebase(instance: TaskInstance, sandbox: Sandbox, *, seconds: float = MAX_SECONDS) -> TaskInstance:
    """Return a row as a task on a source distribution, its tests seen to fail before the repair and to pass after it.

    Ids of tests may end at the first blank of their parameters, as data sets made from logs have them: such an id stands
    for the one test of a run that goes on from there with a blank.

    Args:
        instance: A task of a data set, without an sdist; its column `requirements`, if it is a list, names the wheels that
            its tests need, each as "name==version".
        sandbox: Where the tests run.
        seconds: Time limit of a run of its tests, in seconds.

    Raises:
        OSError: An archive or a wheel cannot be had.
        ValueError: The row is no task on its sdist; the message says why.
        textagent_gym.envs.swe.sandboxes.base.SandboxError: The sandbox failed.
    """
    if instance.origin != "dataset" or instance.sdist is not None:
        raise ValueError(
            f"expected a row of a data set without an sdist, got {instance.instance_id} ({instance.origin})"
        )
    if not instance.FAIL_TO_PASS:
        raise ValueError(
            f"expected {instance.instance_id} to name tests that show its repair, got an empty FAIL_TO_PASS"
        )
    sdist = nearest_sdist(project_name(instance.repo), instance.created_at)
    start = installed_tree(sdist)
    return _validated(_moved(instance, sdist, start), start, sandbox, seconds)


def _validated(moved: TaskInstance, start: Tree, sandbox: Sandbox, seconds: float) -> TaskInstance:
    """Return the row with the tests that its tree has, once they were run before and after the repair.

    Raises:
        OSError: A wheel cannot be had.
        ValueError: A test of FAIL_TO_PASS does not do what it should.
    """
    requirements = requirements_of(moved, start)
    visible = patched(start, moved.test_patch, text_only=True)
    gold = patched(visible, moved.patch, text_only=True)
    files = _files_to_run(moved, gold)
    started = time.perf_counter()
    repaired = run_tests(gold, files, sandbox=sandbox, seconds=seconds, requirements=requirements)
    took = time.perf_counter() - started
    _check_complete(repaired, "with the repair")
    wanted = _resolved(moved.FAIL_TO_PASS, repaired)
    unrepaired = run_tests(visible, files, sandbox=sandbox, seconds=seconds, requirements=requirements)
    _check_complete(unrepaired, "without the repair")
    early = sorted(wanted & unrepaired.passed)
    if early:
        raise ValueError(f"expected every test of FAIL_TO_PASS to fail before the repair, got {early[0]} that passes")
    steady = gold_run(gold, files, sandbox=sandbox, seconds=seconds, requirements=requirements).passed
    unsteady = sorted(wanted - steady)
    if unsteady:
        raise ValueError(f"expected tests that agree from run to run, got {unsteady[0]} that does not")
    kept = {whole_id(test, repaired.outcomes) for test in moved.PASS_TO_PASS}
    return replace(
        moved,
        FAIL_TO_PASS=tuple(sorted(wanted)),
        PASS_TO_PASS=tuple(sorted((steady & unrepaired.passed & kept) - wanted)),
        seconds=round(took, 2),
    )


def rebased(instance: TaskInstance, sandbox: Sandbox) -> TaskInstance:
    """Rebase a row; the result is kept in the cache folder by the row's content and the interpreter.

    Raises:
        OSError: An archive or a wheel cannot be had.
        ValueError: The row is no task on its sdist; the message says why.
        textagent_gym.envs.swe.sandboxes.base.SandboxError: The sandbox failed.
    """
    found = remembered(instance)
    if found is None:
        found = rebase(instance, sandbox)
        keep(_place(instance), json.dumps(to_row(found)).encode())
    return found


def remembered(instance: TaskInstance) -> TaskInstance | None:
    """Return the earlier result of `rebased` for a row, or None if there is none."""
    path = _place(instance)
    row = read_json(path)
    return None if row is None else from_row(row, str(path))


def project_name(repo: str) -> str:
    """Return the name on the package index of a repository "owner/name"."""
    return NAMES.get(repo) or distribution_name(repo.rpartition("/")[2])


def nearest_sdist(project: str, created_at: str) -> Sdist:
    """Return the highest version, pre-releases aside, of which a source distribution was uploaded before a date.

    Raises:
        OSError: The package index cannot be reached, or has no such project.
        ValueError: There is none, or the date is none.
    """
    until = _moment(created_at)
    found: dict[Version, Sdist] = {}
    for release in releases(project):
        try:
            version = Version(release.sdist.version)
        except InvalidVersion:
            continue
        if release.uploaded and not version.is_prerelease and _moment(release.uploaded) < until:
            found.setdefault(version, release.sdist)
    if not found:
        raise ValueError(f"expected a source distribution of {project} from before {created_at}, got none")
    return found[max(found)]


def _moment(text: str) -> datetime:
    """Return a date of ISO 8601, in UTC where it does not say."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d:\d\d)(?:\.\d+)?)?(Z|[+-]\d\d:?\d\d)?", text.strip())
    if match is None:
        raise ValueError(f"expected a date in ISO 8601 of when the repair was made (created_at), got {text!r:.60}")
    zone = "+0000" if match[3] in (None, "Z") else match[3].replace(":", "")
    return datetime.strptime(f"{match[1]} {match[2] or '00:00:00'} {zone}", "%Y-%m-%d %H:%M:%S %z").astimezone(
        timezone.utc
    )


def _moved(instance: TaskInstance, sdist: Sdist, start: Tree) -> TaskInstance:
    """Return the row on the sdist's tree, with patches that fit it, without its image; its tests are those of the row.

    Raises:
        ValueError: A patch does not apply.
    """
    before = patch_texts(start)
    try:
        patch, test_patch = _fitted(before, instance.patch), _fitted(before, instance.test_patch)
    except ValueError as error:
        raise ValueError(
            f"expected patches that fit {sdist.project} {sdist.version}, got one that does not: {error}"
        ) from error
    named = instance.extra.get("requirements")
    requirements = named if isinstance(named, list) else list(REQUIREMENTS.get(sdist.project, ()))
    extra = {name: value for name, value in instance.extra.items() if name != "requirements"}
    if requirements:
        extra["requirements"] = requirements
    return replace(
        instance,
        origin="rebased",
        sdist=sdist,
        base_commit=f"{sdist.project}=={sdist.version}",
        version=sdist.version,
        patch=patch,
        test_patch=test_patch,
        image="",
        eval_script="",
        log_parser="",
        extra={**extra, "rebased_from": instance.base_commit, "source_files": len(source_files(start))},
    )


def _fitted(files: Mapping[str, str], patch: str) -> str:
    """Return a patch as it is where its line numbers hold, and made again where they have moved.

    Raises:
        PatchError: It does not apply.
    """
    changed = apply_patch(files, patch, text_only=True)
    if all(_is_in_place(section, files) for section in parse_patch(patch)):
        return patch
    before = {path: files[path] for path in changed if path in files}
    return make_patch(before, {path: text for path, text in changed.items() if text is not None})


def _is_in_place(section: FilePatch, files: Mapping[str, str]) -> bool:
    """Return whether all hunks of a file stand at the lines that they name."""
    lines = lines_of(files.get(section.old or "", ""))
    starts = [hunk.old_start - bool(hunk.old) for hunk in section.hunks]
    return all(lines[at : at + len(hunk.old)] == hunk.old for at, hunk in zip(starts, section.hunks, strict=True))


def _files_to_run(instance: TaskInstance, gold: Tree) -> list[str]:
    """Return the files of the row's tests that there are.

    Raises:
        ValueError: One of a grading test is missing.
    """
    for path in test_files(instance.FAIL_TO_PASS):
        if path not in gold:
            raise ValueError(f"expected the tests of FAIL_TO_PASS in the source distribution, got no {path}")
    return [path for path in test_files(instance.FAIL_TO_PASS + instance.PASS_TO_PASS) if path in gold]


def _check_complete(report: TestReport, when: str) -> None:
    if not report.complete:
        said = "" if report.stopped else f"; {report.output.strip()[-300:]}"
        raise ValueError(f"expected the tests {when} to run to their end, got none: {report.ending}{said}")


def _resolved(tests: Iterable[str], report: TestReport) -> frozenset[str]:
    """Return the tests of a run with the repair that FAIL_TO_PASS stands for.

    Raises:
        ValueError: One is not found, or does not pass.
    """
    found: set[str] = set()
    for test in tests:
        whole = whole_id(test, report.outcomes)
        if whole is None:
            raise ValueError(f"expected {test} to pass with the repair, got no such test: {_why_missing(test, report)}")
        if report.outcomes[whole] != "passed":
            raise ValueError(f"expected {whole} to pass with the repair, got that it {report.outcomes[whole]}")
        found.add(whole)
    return frozenset(found)


def _why_missing(test: str, report: TestReport) -> str:
    message = report.messages.get(split_id(test)[0], "" if report.outcomes else report.output).strip()
    return message.rpartition("\n")[2][-300:] or "none, or several, have that name"


def _place(instance: TaskInstance) -> Path:
    # The class had this name when the format of the keys was fixed.
    fields = repr(instance).replace("TaskInstance(", "TaskRecord(", 1)
    key = f"({VERSION!r}, {sys.version!r}, {sysconfig.get_platform()!r}, {fields})"
    return cache_folder() / "swe" / "rebased" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"


def main(
    rows: Annotated[str, tyro.conf.Positional],
    out: Annotated[Path, tyro.conf.Positional],
    *,
    allow_weaker: bool = False,
    allow_unsafe: bool = False,
) -> None:
    """Move the rows of a data set to source distributions where possible, and report the result of each row.

    Args:
        rows: A .jsonl, .json or .parquet file, a task folder of swebench 5, or "owner/name[:split]" on the Hugging Face hub.
        out: The .jsonl file that is written.
        allow_weaker: True if Landlock alone may protect the host where bubblewrap cannot run.
        allow_unsafe: True if nothing at all may protect the host where neither can.
    """
    if out.suffix != ".jsonl":
        raise SystemExit(f"expected OUT to name a .jsonl file, got {out}")
    sandbox = choose_sandbox(allow_weaker=allow_weaker, allow_unsafe=allow_unsafe)
    instances = read_instances(rows)
    found = _all_rebased(instances, sandbox)
    write_instances(found, out)
    print(f"{len(found)} of {len(instances)} rows are in {out}")


def _all_rebased(instances: Sequence[TaskInstance], sandbox: Sandbox) -> list[TaskInstance]:
    found: list[TaskInstance] = []
    for instance in instances:
        try:
            one = rebased(instance, sandbox)
        except (ValueError, OSError) as error:
            print(f"{instance.instance_id}: not rebased: {error}", flush=True)
            continue
        counts = (
            f"{len(one.FAIL_TO_PASS)} tests to repair, {len(one.PASS_TO_PASS)} of {len(instance.PASS_TO_PASS)} to keep"
        )
        print(f"{instance.instance_id}: {one.base_commit}, {counts}, {one.seconds} s", flush=True)
        found.append(one)
    return found


if __name__ == "__main__":
    tyro.cli(main, prog="python -m textagent_gym.envs.swe.sources.rebase")
