"""A package for a hub: templates filled with an environment's id and options; all else is this package's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from textagent_gym.registration import OWN_DOMAINS, domain_of

_WHEELS = (
    "Where the package index lacks textagent-gym, build its wheel in a checkout (`python -m build --wheel --outdir wheels`) "
    "and install with `--find-links wheels`."
)


def write_package(
    templates: Mapping[str, str], env_id: str, options: Mapping[str, Any], out: Path, extra: str, num_tasks: int | None
) -> str:
    """Write a package as a folder below `out`, and return its name.

    Args:
        templates: Place -> text, both with fields in braces.
        env_id: A registered id.
        options: Constructor options.
        out: Folder of the package's folder.
        extra: Extra of this package that the package needs, or nothing.
        num_tasks: Number of tasks, where the hub has a list of them.

    Raises:
        ValueError: The id is not one of this package.
        FileExistsError: The folder exists.
    """
    plain = env_id.rpartition(":")[2]
    domain = domain_of(env_id)
    if domain not in OWN_DOMAINS:
        raise ValueError(f"expected an id of textagent-gym, whose package a hub can install, got {env_id}")
    own = version("textagent-gym")
    name = re.sub(r"[^a-z0-9]+", "-", plain.lower())
    extras = ",".join(filter(None, (extra, "swe" if domain.name == "SWEGym" else "")))
    facts = {
        "env_id": plain,
        "name": name,
        "module": name.replace("-", "_"),
        "title": plain.removesuffix("-v0"),
        "version": own,
        "options": repr(dict(options)),
        "requirement": f"textagent-gym{f'[{extras}]' if extras else ''}>={own}",
        "num_tasks": num_tasks,
        "wheels": _WHEELS,
    }
    folder = out / name.replace("-", "_")
    if folder.exists():
        raise FileExistsError(f"expected a folder that does not exist yet, got {folder}")
    for place, template in templates.items():
        path = folder / place.format(**facts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(template.format(**facts), encoding="utf-8")
    return folder.name
