"""Keep the result of a command in the store of its model, under a name that follows from the command."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from landscape.records.record import kind_of, load_record, save_record
from landscape.records.run_files import plain_name, run_path, study_path
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
    named = command_line_of(replace(request, store=None))  # the same run, however its store is spelt
    path = run_path(Path(result.run.store), kind_of(result), request.model, named)
    return _kept(result, path, command_line_of(request))


def keep_study(request: StudyRequest, study: StudyResult) -> Path | None:
    """Keep a study, in place of an earlier one of its name; see ``keep_run``.

    A study that the user named has that name alone, others the names of their models and a hash of the command. One
    that measured more models than this is not replaced.
    """
    name = study_name(request)
    if request.name is None:
        named = command_line_of(replace(request, store=None))
        name = f"{name}-{hashlib.sha256(named.encode()).hexdigest()[:8]}"
    path = study_path(request.root, name)
    if (before := _models_in(path)) > len(study.models):
        _warn(f"a study of {before} models is kept as {name}, this one measured {len(study.models)}; give it a --name")
        return None
    return _kept(study, path, study.command)


def study_name(request: StudyRequest) -> str:
    """Return the name of a study in the names of files: the user's, else its models'."""
    return plain_name(request.name) if request.name else "+".join(map(plain_name, request.models))


def _models_in(path: Path) -> int:
    """Count the models of a study that is kept; 0 if there is none that can be read."""
    try:
        return len(load_record(path).result.models) if path.exists() else 0
    except StoreError:
        return 0


def _warn(message: str) -> None:
    print(f"landscape: warning: the run is not kept: {message}", file=sys.stderr)


def _kept(result: object, path: Path, command: str) -> Path | None:
    try:
        save_record(result, path, command)
    except (StoreError, TypeError) as error:  # a result with a value of a wrong type is still worth its page
        _warn(str(error))
        return None
    return path


def command_line_of(request: Request) -> str:
    """Write the command line of a request."""
    from landscape.cli.command_line import command_line  # imports the table of commands, which imports this

    return command_line(request)
