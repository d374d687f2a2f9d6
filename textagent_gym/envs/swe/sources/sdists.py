"""Source distributions from the package index that pip is configured for: listed, fetched by hash, read into memory.

Nothing of an archive is ever run or written to disk by its names: a tree is a mapping from paths to bytes.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urljoin

from gymnasium.error import DependencyNotInstalled

from textagent_gym.cache import cache_folder, keep, read
from textagent_gym.envs.swe.types import Sdist

MAX_TREE_BYTES = 200 << 20
"""Largest tree that is read, in bytes; an archive that unpacks to more is refused."""

_SDIST = re.compile(r"(?:.*-)?(.*?)\.(?:tar\.gz|tar\.bz2|tgz|zip)")
"""Name of an archive, and in it the version."""

_JSON = "application/vnd.pypi.simple.v1+json"

_ASK_PIP = (
    "from pip._internal.configuration import Configuration; from pip._internal.models.index import PyPI; import json;"
    "c = Configuration(isolated=False); c.load(); d = dict(c.items());"
    "d = d if all(isinstance(v, str) for v in d.values()) else {k: v for f in d.values() for k, v in f.items()};"
    "print(json.dumps([next((d[k] for k in (':env:.index-url', 'install.index-url', 'global.index-url') if k in d),"
    " PyPI.simple_url), next((d[k] for k in (':env:.cert', 'global.cert') if k in d), None)]))"
)


class IndexUnreachableError(OSError):
    """The package index cannot be reached, or does not have what was asked for."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """An archive that the index offers.

    Attributes:
        sdist: The archive.
        url: Where it can be fetched.
        uploaded: When it was uploaded, in ISO 8601, or an empty string where the index does not say.
    """

    sdist: Sdist
    url: str
    uploaded: str


def fetch(sdist: Sdist) -> bytes:
    """Return the archive, from the cache folder or from the index.

    Raises:
        OSError: The index cannot be reached, or does not have it; or what came has another hash.
    """
    path = cache_folder() / "swe" / "sdists" / sdist.sha256[:16] / sdist.filename
    known = read(path)
    if known is not None and hashlib.sha256(known).hexdigest() == sdist.sha256:
        return known
    for release in releases(sdist.project):
        if release.sdist.filename == sdist.filename:
            content = _get(release.url)
            break
    else:
        raise IndexUnreachableError(
            f"expected {sdist.filename} on the package index, got no such file of {sdist.project}"
        )
    found = hashlib.sha256(content).hexdigest()
    if found != sdist.sha256:
        raise IndexUnreachableError(
            f"expected {sdist.filename} with sha256 {sdist.sha256}, got {found}: nothing was kept"
        )
    keep(path, content)
    return content


@functools.lru_cache(maxsize=256)
def releases(project: str) -> tuple[Release, ...]:
    """Return all source distributions of a project, in the order in which the index lists them.

    Raises:
        OSError: The index cannot be reached or has no such project.
    """
    page_url = f"{_index()[0].rstrip('/')}/{project}/"
    try:
        page = json.loads(_get(page_url, accept=_JSON))
    except json.JSONDecodeError as error:
        raise IndexUnreachableError(
            f"expected a package index that answers in JSON at {page_url}, got something else"
        ) from error
    return tuple(_offered(project, page_url, page))


def _offered(project: str, page_url: str, page: dict[str, Any]) -> Iterator[Release]:
    for file in page.get("files", ()):
        name, sha256 = file["filename"], file.get("hashes", {}).get("sha256")
        named = _SDIST.fullmatch(name)
        if file.get("yanked") or sha256 is None or named is None:
            continue
        sdist = Sdist(project=project, version=named[1], filename=name, sha256=sha256)
        yield Release(sdist=sdist, url=urljoin(page_url, file["url"]), uploaded=file.get("upload-time", ""))


def unpack(filename: str, content: bytes) -> dict[str, bytes]:
    """Return the regular files of an archive, by their path below its one top folder; links and devices are left out.

    Raises:
        ValueError: The archive is damaged, too large, or names a path outside itself.
    """
    files: dict[str, bytes] = {}
    size = 0
    try:
        for name, data in _members(filename, content):
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"expected paths inside {filename}, got {name!r}")
            size += len(data)
            if size > MAX_TREE_BYTES:
                raise ValueError(f"expected {filename} to hold at most {MAX_TREE_BYTES} bytes, got more")
            if len(path.parts) > 1:
                files["/".join(path.parts[1:])] = data
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise ValueError(f"expected {filename} to be a whole archive, got a damaged one ({error})") from error
    return files


def _members(filename: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    if filename.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as zipped:
            for entry in zipped.infolist():
                if not entry.is_dir() and entry.file_size <= MAX_TREE_BYTES:
                    yield entry.filename, zipped.read(entry)
        return
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            if member.isfile() and member.size <= MAX_TREE_BYTES:
                file = archive.extractfile(member)
                yield member.name, file.read() if file is not None else b""


@functools.lru_cache(maxsize=64)
def sdist_tree(sdist: Sdist) -> dict[str, bytes]:
    """Return the tree of an archive; the same object for the same archive, not to be changed.

    Raises:
        OSError: It cannot be fetched.
        ValueError: It cannot be read.
    """
    return unpack(sdist.filename, fetch(sdist))


def _get(url: str, accept: str = "*/*") -> bytes:
    """Fetch the content of `url` in up to three tries.

    Raises:
        OSError: It cannot be had.
    """
    try:
        import requests
        import requests.adapters
    except ImportError as error:
        raise DependencyNotInstalled("requests is not installed: pip install 'textagent-gym[swe]'") from error
    if url.startswith("file:"):
        raise IndexUnreachableError(f"expected an http(s) package index, got {url}")
    session = requests.Session()
    retries = requests.adapters.Retry(total=3, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504))
    for scheme in ("http://", "https://"):
        session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=retries))
    try:
        answer = session.get(url, headers={"Accept": accept}, timeout=60, verify=_index()[1] or True)
        if answer.status_code == 404:
            raise IndexUnreachableError(f"the package index has nothing at {url}: is the name right?")
        answer.raise_for_status()
    except requests.RequestException as error:
        raise IndexUnreachableError(
            f"expected to fetch {url}, got {type(error).__name__}: is the package index reachable?"
        ) from error
    content: bytes = answer.content
    return content


def _index() -> tuple[str, str | None]:
    """Return the address of the package index and file of certificates, as pip has them."""
    named = os.environ.get("PIP_INDEX_URL")
    certificates = os.environ.get("PIP_CERT") or os.environ.get("REQUESTS_CA_BUNDLE")
    if named:
        return named, certificates
    address, more = _pip_settings()
    return address, certificates or more


@functools.cache
def _pip_settings() -> tuple[str, str | None]:
    asked = subprocess.run([sys.executable, "-c", _ASK_PIP], capture_output=True, text=True, check=False)
    if asked.returncode:
        raise IndexUnreachableError(
            "expected pip to tell its package index, got an error: set PIP_INDEX_URL to the index's address"
        )
    address, certificates = json.loads(asked.stdout)
    return address, certificates if certificates and Path(certificates).exists() else None
