from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import constants
from transformers import BertConfig, BertForMaskedLM
from transformers.utils import logging

from quant.checkpoints import hub
from quant.checkpoints.checkpoint import ALIASES, Checkpoint, load_checkpoint
from quant.errors import CheckpointError, UsageError
from quant.identity import fingerprint
from tests import tiny
from tests.tiny_tokenizer import tokenizer

Save = Callable[..., Path]


@pytest.fixture(autouse=True)
def known_settings() -> None:
    logging.set_verbosity_warning()
    logging.enable_progress_bar()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_folder_gives_back_the_saved_model(saved: Save, architecture: str) -> None:
    model = tiny.ARCHITECTURES[architecture]()
    checkpoint = load_checkpoint(str(saved(model)))
    want = model.state_dict()
    assert checkpoint.model.state_dict().keys() == want.keys()
    assert all(torch.equal(tensor, want[name]) for name, tensor in checkpoint.model.state_dict().items())
    assert not checkpoint.model.training
    assert not any(p.requires_grad for p in checkpoint.model.parameters())
    assert checkpoint.context == 64
    assert checkpoint.tokenizer("w3 w9", add_special_tokens=False)["input_ids"] == [3, 9]
    assert checkpoint.space.dimension == sum(p.numel() for _, p in checkpoint.space.weights(checkpoint.model))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_dtype_rounds_the_weights_and_is_part_of_the_fingerprint(saved: Save, dtype: str) -> None:
    folder = saved()
    full, half = load_checkpoint(str(folder)), load_checkpoint(str(folder), dtype=dtype)
    for name, p in half.model.named_parameters():
        assert torch.equal(p, full.model.get_parameter(name).to(getattr(torch, dtype)))
    assert half.fingerprint != full.fingerprint


def test_fingerprint_is_of_the_weights_and_not_of_the_name(saved: Save) -> None:
    a, b = load_checkpoint(str(saved(name="a"))), load_checkpoint(str(saved(name="b")))
    assert a.fingerprint == b.fingerprint == fingerprint(tiny.llama())
    assert a.fingerprint != fingerprint(tiny.llama(seed=1))


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_fingerprint_changes_with_one_ulp_of_any_tensor(architecture: str) -> None:
    model = tiny.ARCHITECTURES[architecture]()
    marks = [fingerprint(model)]
    with torch.no_grad():
        for parameter in model.parameters():
            last = parameter.view(-1)[-1]
            last.copy_(torch.nextafter(last, torch.tensor(torch.inf)))
            marks.append(fingerprint(model))
    assert len(set(marks)) == len(marks)


def test_fingerprint_sees_persistent_buffers_shapes_and_names_only() -> None:
    module = torch.nn.Module()
    module.register_buffer("kept", torch.zeros(2))
    module.register_buffer("derived", torch.zeros(2), persistent=False)
    module.weight = torch.nn.Parameter(torch.zeros(2, 3))
    before = fingerprint(module)
    module.derived += 1
    assert fingerprint(module) == before
    module.zz_tied = module.weight
    assert fingerprint(module) == before
    del module.zz_tied
    module.kept += 1
    assert fingerprint(module) != before
    module.kept -= 1
    module.weight = torch.nn.Parameter(torch.zeros(3, 2))
    assert fingerprint(module) != before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int8"}, "float32, float16, bfloat16"),
        ({"device": "tpu"}, "cpu, cuda"),
        ({"device": "cuda:99"}, "sees"),
    ],
)
def test_impossible_options_are_usage_errors(saved: Save, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_checkpoint(str(saved()), **options)


def test_unknown_name_suggests_a_known_one() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'opt-125m'.*smollm2-135m"):
        load_checkpoint("opt-125")


@pytest.mark.parametrize("name", ["/no/such/folder", "./model", "weights.gguf", "a/model.safetensors"])
def test_path_to_nowhere_is_not_taken_for_a_hub_id(name: str) -> None:
    with pytest.raises(UsageError, match="expected a folder"):
        load_checkpoint(name)


def test_pickles_are_refused(saved: Save) -> None:
    folder = saved()
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    with pytest.raises(CheckpointError, match=r"only pytorch_model.bin.*save_pretrained"):
        load_checkpoint(str(folder))


def test_folder_of_gguf_points_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(UsageError, match=r"give the file itself, .*m\.gguf"):
        load_checkpoint(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no gguf at all"])
def test_broken_gguf_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(str(path))
    assert "\n" not in str(caught.value)


def test_truncated_safetensors_is_one_line(saved: Save) -> None:
    folder = saved()
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="model") as caught:
        load_checkpoint(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", [{"num_attention_heads": 0}, {"hidden_size": "wide"}], ids=str)
def test_an_impossible_configuration_is_one_line(saved: Save, field: dict[str, object]) -> None:
    path = saved(tiny.llama()) / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **field}))
    with pytest.raises(CheckpointError, match="expected a causal language model"):
        load_checkpoint(str(path.parent))


def test_missing_weights_are_not_drawn_at_random(saved: Save) -> None:
    folder = saved()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(CheckpointError, match="9 are missing"):
        load_checkpoint(str(folder))


def test_other_kinds_of_model_are_refused(saved: Save) -> None:
    config = BertConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, vocab_size=61)
    with pytest.raises(CheckpointError, match=r"causal language model.*BertForMaskedLM"):
        load_checkpoint(str(saved(BertForMaskedLM(config))))


def test_code_from_a_repository_is_never_run(saved: Save) -> None:
    folder = saved()
    ran = folder / "ran"
    (folder / "code.py").write_text(f"open({str(ran)!r}, 'w')")
    config = {"model_type": "own", "auto_map": {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="never run"):
        load_checkpoint(str(folder))
    native = json.loads((saved(name="native") / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**native, "auto_map": config["auto_map"]}))
    assert load_checkpoint(str(folder)).fingerprint == fingerprint(tiny.llama())  # a known kind: its own class is used
    assert not ran.exists()


def test_settings_of_transformers_are_left_alone(saved: Save, capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    assert before == (logging.WARNING, True)
    broken = saved(name="broken")
    (broken / "model.safetensors").write_bytes(b"")
    folder = saved()
    capfd.readouterr()
    load_checkpoint(str(folder))
    assert capfd.readouterr().err == ""
    with pytest.raises(CheckpointError):
        load_checkpoint(str(broken))
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


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


def test_missing_gated_and_private_repositories_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_revision_is_asked_for_by_name(saved: Save, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_what_is_not_on_the_hub_has_no_revision(saved: Save) -> None:
    for name in ("opt-nano", "smollm2-135m", str(saved())):
        with pytest.raises(UsageError, match="leave --revision out"):
            load_checkpoint(name, revision="v2")


@pytest.mark.usefixtures("no_network")
def test_without_a_network_a_revision_is_the_one_that_was_downloaded(saved: Save, tmp_path: Path) -> None:
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


def test_smollm2_is_the_model_of_the_design(smollm2: Checkpoint) -> None:
    assert smollm2.space.dimension == 106_168_320
    assert smollm2.model.num_parameters() == 134_515_008
    assert smollm2.context == 8192
    assert type(smollm2.model).__name__ == "LlamaForCausalLM"
    assert {p.dtype for p in smollm2.model.parameters()} == {torch.float32}


def test_a_converted_model_that_is_damaged_is_converted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flipped bit of its weights would be another model under the same name."""
    read = []

    def parse(file: Path, dtype: torch.dtype) -> tuple[torch.nn.Module, object]:
        read.append(file)
        return tiny.llama(), tokenizer()

    monkeypatch.setattr("quant.checkpoints.checkpoint.fetch_gguf", lambda cache: cache / "model.gguf")
    monkeypatch.setattr("quant.checkpoints.checkpoint.read_gguf", parse)
    first = load_checkpoint("smollm2-135m", cache=tmp_path).fingerprint
    assert load_checkpoint("smollm2-135m", cache=tmp_path).fingerprint == first
    assert len(read) == 1
    (weights,) = (tmp_path / "models").rglob("model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    assert load_checkpoint("smollm2-135m", cache=tmp_path).fingerprint == first
    assert len(read) == 2
