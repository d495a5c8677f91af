"""Ask the Hugging Face Hub once and briefly before anything is fetched from it.

Without a network its client retries for half a minute before it gives up, and transformers asks a third party to
convert repositories without safetensors. So one short question comes first: is the Hub reachable, is this repository
readable, and which revision holds safetensors? Then the files are fetched, and only local folders are ever loaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from huggingface_hub import HfApi, constants, get_repo_discussions, scan_cache_dir, snapshot_download
from huggingface_hub.errors import (
    CacheNotFound,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # under this name in every major version

from quant.errors import CheckpointError, CorpusError, ToolkitError, first_line
from quant.files.system_errors import reason
from quant.printable import printable

Kind = Literal["model", "dataset"]

_TIMEOUT = 5.0  # seconds for the first question; a reachable Hub answers within one
_ERRORS: dict[Kind, type[ToolkitError]] = {"model": CheckpointError, "dataset": CorpusError}
_CONVERSION_BOT = "SFconvertbot"
_CONVERSION_TITLE = "Adding `safetensors` variant of this model"

MODEL_FILES = [
    "config.json", "*token*.json", "vocab*", "merges.txt", "*.model", "model*.safetensors*", "adapter_config.json"
]  # fmt: skip
"""Files that a model needs: no code, no pickles, no second copy of the weights in another format. An adapter's
configuration is fetched so that the model can be refused."""


def fetch(
    repo: str, kind: Kind, patterns: list[str], suffix: str, alternatives: str, revision: str | None = None
) -> Path:
    """Return a local folder with a repository's files, downloaded unless the Hub's own cache has them.

    Args:
        repo: ``organisation/name``.
        kind: Whether it is a model or a data set.
        patterns: Names of the files to fetch, with wildcards.
        suffix: The ending of the file that matters; for models ``.safetensors``, which may be in a pull request of the
            Hub's conversion bot.
        alternatives: The end of the error message: what to use without a network.
        revision: Branch, tag or commit; None for the default branch, or for a model the conversion bot's request.

    Raises:
        CheckpointError: for a model: if the Hub cannot be reached, the repository does not exist, is gated, or holds
            no safetensors; or if there is no such revision.
        CorpusError: for a data set, in the same cases.
    """
    error, asked = _ERRORS[kind], revision
    try:
        if kind == "model":
            revision = _model_revision(repo, revision)
        else:
            HfApi().dataset_info(repo, revision=revision, timeout=_TIMEOUT)
        return Path(snapshot_download(repo, repo_type=kind, revision=revision, allow_patterns=patterns))
    except RevisionNotFoundError as problem:
        raise error(
            f"the Hub's {kind} {repo} has no revision {printable(str(revision))!r}: name a branch, a tag or a commit"
        ) from problem
    except GatedRepoError as problem:
        raise error(
            f"{repo} is gated: accept its licence at {constants.ENDPOINT}/{repo} and log in with `hf auth login`"
        ) from problem
    except (RepositoryNotFoundError, HFValidationError) as problem:
        raise error(
            f"the Hub has no {kind} {repo}, or it is private: check the name, or log in with `hf auth login`"
        ) from problem
    except (httpx.RequestError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled) as problem:
        cached = _cached_snapshot(repo, kind, suffix, asked)
        if cached is None:
            raise error(
                f"expected to download {repo}, but the Hub cannot be reached ({first_line(problem).rstrip('.')}); "
                f"{alternatives}"
            ) from problem
        return cached
    except OSError as problem:
        place = Path(problem.filename or constants.HF_HUB_CACHE)
        raise error(
            f"expected to download {repo} into {constants.HF_HUB_CACHE}, got: {reason(problem, place)}"
        ) from problem


def _model_revision(repo: str, revision: str | None) -> str | None:
    """Return the requested revision, None for the default branch, if it holds safetensors.

    If the default branch holds none, the conversion bot's open pull request is taken. A request counts only if its
    pickled weights are, by hash, those of the default branch: its safetensors then convert the present weights.
    """
    info = HfApi().model_info(repo, revision=revision, timeout=_TIMEOUT, files_metadata=True)
    if info.gated:
        HfApi().auth_check(repo)
    files = _hashes(info)
    if _has_safetensors(files):
        return revision
    if revision is not None:
        raise CheckpointError(
            f"expected safetensors in revision {revision!r} of {repo}, found none, and pickled weights are never "
            "loaded: name another revision, or leave it out"
        )
    pickles = {name: digest for name, digest in files.items() if name.endswith(".bin")}
    for request in get_repo_discussions(repo, author=_CONVERSION_BOT, discussion_type="pull_request"):
        if request.status != "open" or request.title != _CONVERSION_TITLE or request.git_reference is None:
            continue
        candidate = _hashes(HfApi().model_info(repo, revision=request.git_reference, files_metadata=True))
        if pickles.items() <= candidate.items() and _has_safetensors(candidate):
            return request.git_reference
    raise CheckpointError(
        f"{repo} holds no safetensors, and pickled weights are never loaded: convert it with "
        "https://huggingface.co/spaces/safetensors/convert, or save it to a local folder with `save_pretrained`"
    )


def _has_safetensors(files: Iterable[str]) -> bool:
    """Return whether there are weights under the name that transformers gives them, in one file or in shards."""
    return any(name.startswith("model") and name.endswith(".safetensors") for name in files)


def _hashes(info: ModelInfo) -> dict[str, str | None]:
    """Return the files of a revision, each with the hash of its content where the Hub states one."""
    return {file.rfilename: file.lfs.sha256 if file.lfs else file.blob_id for file in info.siblings or []}


def _cached_snapshot(repo: str, kind: Kind, suffix: str, asked: str | None) -> Path | None:
    """Return the newest downloaded revision, or the requested one, if it holds a file ending in ``suffix``."""
    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except CacheNotFound:
        return None
    complete = [
        revision
        for found in repositories
        if (found.repo_id, found.repo_type) == (repo, kind)
        for revision in found.revisions
        if any(file.file_name.endswith(suffix) for file in revision.files)
        and (asked is None or asked in revision.refs or revision.commit_hash.startswith(asked))
    ]
    return max(complete, key=lambda r: r.last_modified).snapshot_path if complete else None
