"""Fetch models from the Hub: revisions, conversions, and a Hub that cannot be reached."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from quant.checkpoints import hub
from quant.checkpoints.checkpoint import ALIASES, load_checkpoint
from quant.errors import CheckpointError
from quant.identity import fingerprint
from tests import tiny

Save = Callable[..., Path]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", [*ALIASES, "nobody/nothing"])
def test_unreachable_hub_ends_at_once_in_one_line(name: str) -> None:
    start = time.monotonic()
    with pytest.raises(CheckpointError, match=r"cannot be reached \(.*not known\); use .*gguf.*smollm2-135m") as caught:
        load_checkpoint(name)
    assert time.monotonic() - start < 3
    assert ALIASES.get(name, name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_network")
def test_downloaded_model_loads_without_a_network(saved: Save, tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--some--one"
    snapshot = repository / "snapshots" / ("c" * 40)
    snapshot.parent.mkdir(parents=True)
    saved().rename(snapshot)
    (repository / "refs" / "refs" / "pr").mkdir(parents=True)
    (repository / "refs" / "refs" / "pr" / "3").write_text("c" * 40)
    assert load_checkpoint("some/one").fingerprint == fingerprint(tiny.llama())


def test_missing_gated_and_private_repositories_give_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = SimpleNamespace(headers={}, request=None, status_code=403)
    for problem, message in (
        (hub.GatedRepoError("gated", response=answer), "accept its licence.*hf auth login"),
        (hub.RepositoryNotFoundError("404", response=answer), "has no model.*check the name"),
    ):

        def info(*args: object, problem: Exception = problem, **options: object) -> None:
            raise problem

        monkeypatch.setattr(hub.HfApi, "model_info", info)
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint("some/one")


class FakeHub:
    """A repository of pickles with pull requests, and a note of which revision was downloaded."""

    def __init__(self, folder: Path, pull_requests: dict[str, tuple[str, dict[str, str]]]) -> None:
        self.folder, self.pull_requests, self.asked = folder, pull_requests, []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hub.HfApi, "model_info", self.info)
        monkeypatch.setattr(hub, "get_repo_discussions", self.discussions)
        monkeypatch.setattr(hub, "snapshot_download", self.download)

    def info(self, repo: str, revision: str | None = None, **options: object) -> SimpleNamespace:
        if revision not in (None, *self.pull_requests):
            raise hub.RevisionNotFoundError("404", response=SimpleNamespace(headers={}, request=None, status_code=404))
        files = self.pull_requests[revision][1] if revision else {"pytorch_model.bin": "now", "config.json": "c"}
        siblings = [
            SimpleNamespace(rfilename=name, lfs=SimpleNamespace(sha256=digest), blob_id=None)
            for name, digest in files.items()
        ]
        return SimpleNamespace(gated=False, siblings=siblings)

    def discussions(self, repo: str, **filters: str) -> list[SimpleNamespace]:
        assert filters == {"author": "SFconvertbot", "discussion_type": "pull_request"}
        title = "Adding `safetensors` variant of this model"
        return [
            SimpleNamespace(status=status, title=title, git_reference=reference)
            for reference, (status, _) in self.pull_requests.items()
        ]

    def download(self, repo: str, revision: str | None, **options: object) -> str:
        self.asked.append(revision)
        return str(self.folder)


def test_conversion_is_taken_only_if_it_is_open_and_of_the_present_weights(
    saved: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted = {"pytorch_model.bin": "now", "model.safetensors": "s"}
    stale = {"pytorch_model.bin": "old", "model.safetensors": "s"}
    requests = {"refs/pr/1": ("closed", converted), "refs/pr/2": ("open", stale), "refs/pr/3": ("open", converted)}
    fake = FakeHub(saved(), requests)
    fake.install(monkeypatch)
    assert load_checkpoint("opt-125m").fingerprint == fingerprint(tiny.llama())
    assert fake.asked == ["refs/pr/3"]
    del requests["refs/pr/3"]
    with pytest.raises(CheckpointError, match=r"holds no safetensors.*never loaded"):
        load_checkpoint("opt-125m")
    assert fake.asked == ["refs/pr/3"]


def test_a_revision_is_fetched_by_name(saved: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"model.safetensors": "s", "config.json": "c"}
    fake = FakeHub(saved(), {"v2": ("tag", held), "old": ("branch", {"pytorch_model.bin": "b"})})
    fake.install(monkeypatch)
    assert load_checkpoint("some/one", revision="v2").fingerprint == fingerprint(tiny.llama())
    assert fake.asked == ["v2"]
    with pytest.raises(CheckpointError, match=r"has no revision 'v3'.*branch, a tag or a commit"):
        load_checkpoint("some/one", revision="v3")
    with pytest.raises(CheckpointError, match=r"revision 'old' of some/one, found none"):
        load_checkpoint("some/one", revision="old")
    assert fake.asked == ["v2"]


@pytest.mark.usefixtures("no_network")
def test_without_a_network_a_downloaded_revision_is_used(saved: Save, tmp_path: Path) -> None:
    repository, ids = tmp_path / "hub" / "models--some--one", {"main": "c" * 40, "v2": "d" * 40}
    for number, (name, commit) in enumerate(ids.items()):
        saved(tiny.llama(seed=number), name).rename(_made(repository / "snapshots") / commit)
        (_made(repository / "refs") / name).write_text(commit)
    for number, name in enumerate(ids):
        assert load_checkpoint("some/one", revision=name).fingerprint == fingerprint(tiny.llama(seed=number))
    assert load_checkpoint("some/one", revision="d" * 12).fingerprint == fingerprint(tiny.llama(seed=1))
    with pytest.raises(CheckpointError, match="cannot be reached"):
        load_checkpoint("some/one", revision="v3")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
