"""A container engine and a task's image, made on the spot for tests: podman in a temporary folder, Debian inside."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.support import calc
from textagent_gym.envs.swe.repo.patches import make_patch
from textagent_gym.envs.swe.types import TaskInstance

IMAGE = "localhost/textagent-gym-calc:1"
BINARY = b"\x7fELF\0\xff" * 100
OLD_TESTS = b"import calc\n\n\ndef test_mul():\n    assert calc.mul(2, 3) == 6\n"
NEW_TESTS = (
    b"import pytest\n"
    + calc.TESTS
    + b"""

@pytest.mark.parametrize("words", ["a b", "c d"])
def test_words(words):
    assert calc.largest(words.split()) == words[-1]
"""
)
TREE = {**calc.START, calc.TEST_FILE: OLD_TESTS, "src/calc/_fast.so": BINARY}
"""Content of /testbed in the image, without a git repository and a symbolic link."""

PROGRAMS = ("podman", "runc", "debootstrap", "chroot", "tar")
_CONFIGURATION = """[engine]
runtime = "runc"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
netns = "none"
"""


def text(tree: dict[str, bytes], *paths: str) -> dict[str, str]:
    return {path: tree[path].decode() for path in paths}


INSTANCE = TaskInstance(
    instance_id="getmoto__moto-1",  # a repository of SWE-Gym, so that its test script is the one that is made for those
    repo="getmoto/moto",
    base_commit="HEAD",
    problem_statement="Sums and maxima are wrong.",
    patch=make_patch(text(TREE, calc.SOURCE), text(calc.GOLD, calc.SOURCE)),
    test_patch=make_patch(text(TREE, calc.TEST_FILE), {calc.TEST_FILE: NEW_TESTS.decode()}),
    # The last two end at a blank, as data sets that were made from logs have them.
    FAIL_TO_PASS=(*calc.ADD, *calc.LARGEST, f"{calc.TEST_FILE}::test_words[a", f"{calc.TEST_FILE}::test_words[c"),
    PASS_TO_PASS=(calc.MUL,),
    version="1.0",
    image=IMAGE,
)
HALF = make_patch(text(TREE, calc.SOURCE), {calc.SOURCE: calc.BUGGY_SOURCE.replace(b"a - b", b"a + b").decode()})
"""A repair of one bug of the two."""


def with_image(image: str) -> TaskInstance:
    return replace(INSTANCE, image=image)


def missing() -> str | None:
    """Return why the engine cannot be started here, or None where it may be tried."""
    if os.geteuid() != 0:
        return "podman and debootstrap are run as root here"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Yield the address of an engine that has the image `IMAGE`.

    Raises:
        subprocess.CalledProcessError: It cannot be made: there may be no network for Debian's packages.
    """
    folder = Path(tempfile.mkdtemp(prefix="swe-podman-"))  # short, as the path of a socket must be
    (folder / "containers.conf").write_text(_CONFIGURATION)
    variables = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf")}
    podman = ["podman", "--root", str(folder / "storage"), "--runroot", str(folder / "run")]
    service = None
    try:
        _make_root(folder / "root")
        with subprocess.Popen(["tar", "-C", str(folder / "root"), "-c", "."], stdout=subprocess.PIPE) as tar:
            command = [*podman, "import", "-", IMAGE]
            subprocess.run(command, stdin=tar.stdout, env=variables, check=True, capture_output=True)
        shutil.rmtree(folder / "root")
        address = f"unix://{folder}/podman.sock"
        command = [*podman, "system", "service", "--time=0", address]
        # It leaves a file behind where a command runs out of memory.
        service = subprocess.Popen(command, env=variables, cwd=folder)
        deadline = time.monotonic() + 20
        while not (folder / "podman.sock").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield address
    finally:
        if service is not None:
            service.terminate()
            service.wait()
        subprocess.run(
            [*podman, "rm", "--all", "--force", "--time", "0"], env=variables, check=False, capture_output=True
        )
        subprocess.run([*podman, "rmi", "--all", "--force"], env=variables, check=False, capture_output=True)
        subprocess.run(["umount", str(folder / "storage" / "overlay")], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def _make_root(root: Path) -> None:
    """Debian with Python, pytest and git; the repository; and a conda environment as far as test scripts need one."""
    command = ["debootstrap", "--variant=minbase", "--include=git,python3,python3-pytest", "bookworm", str(root)]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    for path, content in TREE.items():
        _write(root / "testbed" / path, content)
    (root / "testbed" / "link.py").symlink_to("src/calc/__init__.py")
    git = ["chroot", str(root), "git", "-C", "/testbed", "-c", "user.name=x", "-c", "user.email=x@localhost"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "base"]):
        subprocess.run([*git, *arguments], check=True, capture_output=True)
    # As an editable installation has it: it points at the repository.
    _write(root / "usr/lib/python3/dist-packages/calc.pth", b"/testbed/src\n")
    environment = root / "opt/miniconda3/envs/testbed/bin"
    _write(environment / "pytest", b'#!/bin/sh\nexec /usr/bin/python3 -m pytest "$@"\n', 0o755)
    (environment / "python").symlink_to("/usr/bin/python3")
    _write(
        root / "opt/miniconda3/bin/activate",
        b'conda() {\n    export PATH="/opt/miniconda3/envs/testbed/bin:$PATH"\n}\n',
    )


def _write(path: Path, content: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
