"""The instance of a repair task: the fields of SWE-bench, and what this project adds to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Origin = Literal["bundled", "mutation", "release", "dataset", "rebased"]
"""Source of a task; "rebased" is a row of a data set moved to the nearest earlier sdist."""


@dataclass(frozen=True, kw_only=True)
class Sdist:
    """A source distribution of a package index, pinned.

    Attributes:
        project: Name on the index.
        version: Release.
        filename: Name of its archive.
        sha256: Hash of its archive, in hexadecimal.
    """

    project: str
    version: str
    filename: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Bug:
    """One bug of a task.

    Attributes:
        file: Path of the file in the repository.
        function: Qualified name of the function that holds it, for example "Parser.feed".
        kind: Kind of the change, for example "comparison".
        tests: Its test group: ids of tests that fail because of it alone, each in no other group of the task.
    """

    file: str
    function: str
    kind: str
    tests: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TaskInstance:
    """A repair task, whatever its origin. Fields up to `version` are SWE-bench's, with its names and meanings.

    Attributes:
        instance_id: Name of the task.
        repo: "owner/name" of a data set; the project's name on the index; "bundled/name".
        base_commit: Commit of a data set; "name==version" of an sdist.
        problem_statement: Description of the problem.
        patch: Unified diff that repairs it, of files that are no tests.
        test_patch: Unified diff of the tests that show the repair; empty where the tree holds them already.
        FAIL_TO_PASS: Ids of tests that fail before the repair and pass after it.
        PASS_TO_PASS: Ids of tests that pass before and after.
        hints_text: More words, or none.
        created_at: Date of the repair, in ISO 8601, or none.
        version: Version of the project.
        origin: Source of the task.
        sdist: The archive whose tree it starts from, or None (bundled tasks, and those that live in an image).
        setup_patch: Unified diff that turns the archive's tree into the one that the agent starts with.
        bugs: The bugs that were put in, or the repair's test groups where nobody knows bugs.
        licence: Licence of the code.
        image: Container image that holds the repository in `/testbed`, or none.
        eval_script: Shell script that runs the tests in that image, or none.
        log_parser: swebench's name of the parser for what that script prints, or none.
        seconds: Time that the tests took when the task was validated, in seconds; 0 where nobody measured it.
        extra: Columns of a data set that this instance has no field for.
    """

    instance_id: str
    repo: str
    base_commit: str
    problem_statement: str
    patch: str
    test_patch: str
    FAIL_TO_PASS: tuple[str, ...]
    PASS_TO_PASS: tuple[str, ...]
    hints_text: str = ""
    created_at: str = ""
    version: str = ""
    origin: Origin = "dataset"
    sdist: Sdist | None = None
    setup_patch: str = ""
    bugs: tuple[Bug, ...] = ()
    licence: str = ""
    image: str = ""
    eval_script: str = ""
    log_parser: str = ""
    seconds: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)
