"""Keep the result of a command in the store of its model, under a name that follows from the command."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from landscape.records.record import kind_of, save_record
from landscape.records.run_files import run_path, study_path
from landscape.session.request import Request
from landscape.study.request import StudyRequest
from landscape.study.result import StudyResult
from quant.errors import StoreError


def keep_run(request: Request, result: Any) -> Path | None:
    """Keep a result beside its probes, in place of an earlier one of the same command.

    Args:
        request: The request that was met.
        result: Its result, whose ``run`` names the store.

    Returns:
        The file; None if it cannot be written, of which a line on stderr warns: the result itself is not lost by that.
    """
    from landscape.cli.command_line import command_line  # imports the table of commands, which imports this

    named = command_line(replace(request, store=None))  # the same run, however its store is spelt
    path = run_path(Path(result.run.store), kind_of(result), request.model, named)
    return _kept(result, path, command_line(request))


def keep_study(request: StudyRequest, study: StudyResult) -> Path | None:
    """Keep a study by its name, in place of an earlier one of that name; see ``keep_run``."""
    return _kept(study, study_path(request.root, request.title), study.command)


def _kept(result: object, path: Path, command: str) -> Path | None:
    try:
        save_record(result, path, command)
    except StoreError as error:
        print(f"landscape: warning: the run is not kept: {error}", file=sys.stderr)
        return None
    return path
