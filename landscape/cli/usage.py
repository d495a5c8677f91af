"""What the command line itself refuses, in the words of all other errors: what was expected, what came, what to do."""

from __future__ import annotations

import typer

_KINDS = {"int_parsing": "a whole number", "float_parsing": "a number"}


def sentence(error: typer.TyperException) -> str:
    """One line for what is wrong with the words of a command.

    Args:
        error: As typer raises it. Only its base is public: which kind it is tells what it holds.
    """
    option = next(iter(getattr(getattr(error, "param", None), "opts", ())), None)
    unknown, near = getattr(error, "option_name", None), getattr(error, "possibilities", None)
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else ""  # typer does not know it where a value is missing
    if option is not None and (refused := _refused(error)):
        wanted, came = refused
        return f"expected {wanted} as {option}, got {came}"
    if option is not None and not error.message:
        return f"expected {option}, which {path} needs, got none; see {path} --help"
    if near is not None:
        hint = f"did you mean {' or '.join(near)}?" if near else f"see {path} --help"
        return f"expected an option of {path}, got {unknown}; {hint}"
    told = error.format_message().rstrip(".")
    hint = f"; see {path} --help" if path and not told.endswith("?") else ""
    return f"{told[:1].lower()}{told[1:]}{hint}"


def _refused(error: typer.TyperException) -> tuple[str, str] | None:
    """What a value should have been, and the value as it came; None if it was not refused for what it is.

    typer checks values by pydantic, whose error it chains to its own. There the value and the bound are.
    """
    details = getattr(error.__cause__, "errors", None)
    if details is None:
        return None
    problem = details()[0]
    if problem["type"] == "greater_than_equal":
        return f"at least {problem['ctx']['ge']}", str(problem["input"])
    if problem["type"] in _KINDS:
        return _KINDS[problem["type"]], repr(problem["input"])
    return None
