"""A container engine behind the Docker API, Docker or podman: reached where `DOCKER_HOST` says, asked, and tidied up."""

from __future__ import annotations

import contextlib
import functools
import os
import uuid
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from gymnasium.error import DependencyNotInstalled

from textagent_gym.envs.swe.sandboxes.base import SandboxError

LABEL = "textagent_gym.process"
"""Label of every container that is made here; its value names the process that made it."""


def engine() -> Any:
    """Return the process's client of the engine; the first call removes the containers of processes that are no more.

    Raises:
        SandboxError: No engine answers.
        gymnasium.error.DependencyNotInstalled: The package `docker` is not installed.
    """
    return _engine(os.getpid(), os.environ.get("DOCKER_HOST", ""))


@functools.cache
def _engine(process: int, address: str) -> Any:
    """For each process apart, as a connection cannot be shared after a fork."""
    docker = docker_package()
    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException as error:
        raise SandboxError(
            f"expected a container engine at {address or 'the socket of Docker'}, got no answer: start Docker, or run "
            "'podman system service --time=0 unix:///tmp/podman.sock &' and set DOCKER_HOST=unix:///tmp/podman.sock"
        ) from error
    with translated("list containers"):
        _sweep(client)
    return client


def docker_package() -> Any:
    """Return the package `docker`.

    Raises:
        gymnasium.error.DependencyNotInstalled: It is not installed.
    """
    try:
        return import_module("docker")
    except ImportError as error:
        raise DependencyNotInstalled("docker is not installed: pip install 'textagent-gym[swebench]'") from error


def find_image(name: str) -> Any:
    """Return an image that the engine has.

    Raises:
        SandboxError: It has none of this name, or there is no engine.
    """
    client, errors = engine(), docker_package().errors
    with translated(f"find the image {name}"):
        try:
            return client.images.get(name)
        except errors.ImageNotFound as error:
            raise SandboxError(
                f"expected the image {name} in the container engine, got none: fetch it with 'docker pull {name}' "
                "(or 'podman pull')"
            ) from error


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Tell an error of the engine as a `SandboxError` that says what it could not do."""
    import requests.exceptions

    try:
        yield
    except (docker_package().errors.DockerException, requests.exceptions.RequestException, OSError) as error:
        said = str(getattr(error, "explanation", None) or error)
        raise SandboxError(f"the container engine failed to {what}: {said.strip()[-500:]}") from error


@functools.cache
def _owner(process: int) -> str:
    return f"{_world()} {process} {_started(process)}"


def owner() -> str:
    """Name this process as the maker of a container."""
    return _owner(os.getpid())


def _sweep(client: Any) -> None:
    """Remove containers whose maker is gone; those of another machine, or of another container's processes, stay."""
    errors = docker_package().errors
    for container in client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True):
        world, _, rest = container.labels.get(LABEL, "").partition(" ")
        process, _, started = rest.partition(" ")
        if world == _world() and process.isdigit() and _started(int(process)) != started:
            with contextlib.suppress(errors.NotFound, errors.APIError):
                discard(container)


def discard(container: Any) -> None:
    """Kill a container and remove it, which returns when nothing in it runs any more."""
    errors = docker_package().errors
    # podman would ask it to stop first, and wait ten seconds for that.
    with contextlib.suppress(errors.APIError):
        container.kill()
    with contextlib.suppress(errors.NotFound):
        container.remove(force=True, v=True)


@functools.cache
def _world() -> str:
    """Name the processes among which a number means one of them: this boot, and this process namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    name = boot.read_text(encoding="ascii").strip() if boot.exists() else uuid.uuid4().hex
    return f"{name}/{os.readlink('/proc/self/ns/pid')}"


def _started(process: int) -> str:
    """Return the time at which a process began, in the kernel's ticks; empty if there is none."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    return status.rpartition(")")[2].split()[19]
