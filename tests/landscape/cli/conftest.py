"""The command line, run in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module

import pytest
import torch
from transformers import PreTrainedModel

from landscape.cli import main
from landscape.cli.commands import COMMANDS
from landscape.session.request import Request
from quant.errors import UsageError
from tests.landscape.cli.asking import Run


@pytest.fixture
def run(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in this process: exit code, stdout, stderr."""

    def run_words(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["landscape", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        out = capsys.readouterr()
        return int(end.value.code or 0), out.out, out.err

    return run_words


@pytest.fixture
def failure(run: Run) -> Callable[..., str]:
    """Run a command that fails: its one line of error."""

    def failed(*words: object) -> str:
        code, out, err = run(*words)
        assert code == 1
        assert out == ""
        assert "Traceback" not in err
        (line,) = [line for line in err.splitlines() if "error" in line]
        return line

    return failed


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Callable[..., Request]:
    """Return the request that the command line makes of words; nothing is run."""
    requests: list[Request] = []

    def stop(request: Request, progress: object) -> None:
        requests.append(request)
        raise UsageError("stopped")

    for command in COMMANDS:
        for verb in (command.verb, *(command.shard or ())[:1], *(command.dry_run or ())[:1]):
            module, _, name = verb.partition(":")
            monkeypatch.setattr(import_module(module), name, stop)
    monkeypatch.chdir(tmp_path)  # where the folder of pages is made

    def parse(*words: str) -> Request:
        monkeypatch.setattr(sys, "argv", ["landscape", *words])
        with pytest.raises(SystemExit):
            main()
        return requests.pop()

    return parse


@pytest.fixture
def forwards() -> Iterator[list[int]]:
    """Counts the calls of any language model's forward, whatever the tool says of itself."""
    calls: list[int] = []
    handle = torch.nn.modules.module.register_module_forward_hook(
        lambda module, *_: calls.append(1) if isinstance(module, PreTrainedModel) and module.can_generate() else None
    )
    yield calls
    handle.remove()
