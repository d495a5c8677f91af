"""Names from files reach the terminal as text: nothing in them is an order to it, or markup."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.table import Table
from safetensors.torch import load_file, save_file

from landscape.cli import main
from landscape.cli.plain_console import PlainConsole
from landscape.cli.progress import ConsoleProgress

Save = Callable[..., Path]
EVIL = "\x1b[31mevil[bold]:smile:"
SHOWN = "\\x1b[31mevil[bold]:smile:"


def run(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[int, str]:
    """Run the command in this process: exit code, and all that it printed."""
    monkeypatch.setattr(sys, "argv", ["landscape", *map(str, words)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main()
    out = capsys.readouterr()
    assert "\x1b" not in out.out + out.err
    return int(end.value.code or 0), out.out + out.err


def test_an_unknown_kind_of_model(
    saved: Save, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = saved()
    config = json.loads((folder / "config.json").read_text())
    for field, value in (("model_type", EVIL), ("architectures", [EVIL])):
        (folder / "config.json").write_text(json.dumps({**config, field: value}))
        code, text = run(capsys, monkeypatch, "radius", "--model", folder, "--data", "tales", "--store", tmp_path / "s")
        assert code == 1
        assert SHOWN in text


def test_the_name_of_a_tensor(
    saved: Save, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = saved()
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, EVIL: torch.ones(1)}, folder / "model.safetensors", {"format": "pt"})
    code, text = run(capsys, monkeypatch, "radius", "--model", folder, "--data", "tales", "--store", tmp_path / "s")
    assert code == 1
    assert SHOWN in text


def test_the_name_of_a_folder_in_what_is_printed(
    saved: Save, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = saved(name=EVIL)
    words = ["--model", folder, "--bits", "4", "--method", "rtn", "--export", tmp_path / f"out{EVIL}"]
    code, text = run(capsys, monkeypatch, "quantize", *words, "--store", tmp_path / "s")
    assert code == 0, text
    assert text.replace("\n", "").count(SHOWN) >= 3  # the model, the folder that was written, and the stage of writing
    code, text = run(capsys, monkeypatch, "radius", "--model", tmp_path / f"no{EVIL}", "--data", "tales")
    assert code == 2
    assert SHOWN in text


def test_tables_and_warnings(capsys: pytest.CaptureFixture) -> None:
    table = Table()
    table.add_column(EVIL)
    table.add_row(EVIL)
    stream = io.StringIO()
    PlainConsole(file=stream, width=80).print(table)
    assert stream.getvalue().count(SHOWN) == 2
    assert "\x1b" not in stream.getvalue()
    with ConsoleProgress() as progress:
        progress.warn(EVIL)
        progress.stage(EVIL)
    err = capsys.readouterr().err
    assert err.count(SHOWN) >= 2
    assert "\x1b" not in err
