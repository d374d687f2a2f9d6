"""The Hugging Face hub: folders as data sets, through `huggingface_hub`, whose login and `HF_ENDPOINT` count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from baselines.errors import BaselinesError
from benchmarks.runs.records import MAX_FILE

CLIENT_ERROR: type[Exception] = HfHubHTTPError.__mro__[1]
"""Errors of the HTTP client that `huggingface_hub` uses, which is another one from version to version."""


class HubError(BaselinesError):
    """The hub does not know a data set, refuses a request, or cannot be reached."""


def upload(folder: Path, repo: str, message: str, private: bool) -> str:
    """Upload a folder as one commit to a data set, which is made if it is missing; return its address.

    Raises:
        HubError: the hub refuses or cannot be reached.
    """
    with _one_sentence(f"to push to the data set {repo}"):
        api = HfApi()
        address = api.create_repo(repo, repo_type="dataset", private=private or None, exist_ok=True)
        api.upload_folder(repo_id=repo, repo_type="dataset", folder_path=folder, commit_message=message)
    return str(address)


def commit_of(repo: str, revision: str | None) -> str:
    """Return the commit that a branch, a tag or None (the main branch) of a data set stands for.

    Raises:
        HubError: there is none, or the hub cannot be reached.
    """
    with _one_sentence(f"the data set {repo}"):
        commit = HfApi().dataset_info(repo, revision=revision).sha
    if commit is None:
        raise HubError(f"expected a commit of the data set {repo}, got none")
    return commit


def download(repo: str, names: Sequence[str], commit: str, folder: Path) -> None:
    """Download files of one commit of a data set into a folder.

    Raises:
        HubError: a file is missing or larger than `MAX_FILE` bytes, or the hub cannot be reached.
    """
    with _one_sentence(f"the files {', '.join(names)} of the data set {repo}"):
        api = HfApi()
        found = api.dataset_info(repo, revision=commit, files_metadata=True).siblings or []
        sizes = {file.rfilename: file.size for file in found}
        for name in names:
            if (sizes.get(name) or 0) > MAX_FILE:
                raise HubError(f"expected {name} of at most {MAX_FILE} bytes in {repo}, got {sizes[name]}")
            api.hf_hub_download(repo, name, repo_type="dataset", revision=commit, local_dir=folder)


@contextmanager
def _one_sentence(expected: str) -> Iterator[None]:
    try:
        yield
    except (HfHubHTTPError, HFValidationError, CLIENT_ERROR, OSError, ValueError) as error:
        raise HubError(f"expected {expected}, got: {' '.join(str(error).split())[:300]}") from error
