"""Source distributions in memory."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping


def make_archive(files: Mapping[str, str | bytes], folder: str = "", link: tuple[str, str] | None = None) -> bytes:
    """Return a gzipped tar archive.

    Args:
        files: Path -> content.
        folder: Folder that all files lie in; "" for none.
        link: Path of a symbolic link at the end, and its target.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, text in files.items():
            content = text.encode() if isinstance(text, str) else text
            member = tarfile.TarInfo(f"{folder}/{path}" if folder else path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        if link is not None:
            member = tarfile.TarInfo(link[0])
            member.type, member.linkname = tarfile.SYMTYPE, link[1]
            tar.addfile(member)
    return buffer.getvalue()
