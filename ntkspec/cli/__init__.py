"""The command line, one file a command: ``ntkspec report``, ``spectrum``, ``predict``, ``design`` and so on.

Only settings are imported here, so that ``--help`` answers at once; each command imports what it runs.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

from ntkspec.extras import needs

with needs("app", "tyro"):
    import tyro

    from ntkspec.cli._design import Design
    from ntkspec.cli._encoding import Encoding
    from ntkspec.cli._predict import Predict
    from ntkspec.cli._report import Report
    from ntkspec.cli._shared import plain
    from ntkspec.cli._spectrum import Spectrum
    from ntkspec.cli._validate import Validate

__all__ = ["main"]

Command = Report | Spectrum | Predict | Design | Validate | Encoding
COMMANDS: dict[str, Callable[..., Any]] = {
    "report": Report,
    "spectrum": Spectrum,
    "predict": Predict,
    "design": Design,
    "validate": Validate,
    "encoding": Encoding,
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: without the program's name; None takes the process's.

    Returns:
        The exit status: 0, or 2 for bad input, which is told in one line on standard error.
    """
    parsed = _parse(sys.argv[1:] if arguments is None else arguments)
    if isinstance(parsed, int):
        return parsed
    try:
        result = parsed.run()
    except (ValueError, OSError, FloatingPointError) as error:
        return _refuse(_on_command_line(error, type(parsed)))
    except Exception as error:
        # Of JAX's own kind, whose name has changed: caught without importing it.
        if "out of memory" not in str(error).lower():
            raise
        return _refuse("that needs more memory than there is; take a smaller size or length, or fewer frequencies")
    print(json.dumps(plain(result), allow_nan=False) if parsed.json else parsed.text(result))
    return 0


def _raised_here(error: BaseException | None) -> BaseException | None:
    """Return what a record of this package refused, before tyro put a frame around it; None where it was none."""
    while error is not None:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if trace is not None and trace.tb_frame.f_globals["__name__"].startswith("ntkspec."):
            return error
        error = error.__context__
    return None


#: Arguments that are options by another name; those of several numbers are in the plural.
RENAMED = {
    "max_size": "size", "max_length": "length", "p": "decay", "every": "checkpoint_every",
    "minutes": "checkpoint_minutes", "shape": "samples",
}  # fmt: skip


def _on_command_line(error: BaseException, command: Callable[..., Any]) -> str:
    """Return the message with options of the command in place of arguments."""
    render = getattr(error, "on_command_line", None)
    text = str(error) if render is None else render().replace("--resume previous", "--resume-previous")
    options = _options(command)

    def option(match: re.Match) -> str:
        name, values = match.group(1), match.group(2)
        names = [each for each in (RENAMED.get(name, name), f"{name}s") if each in options]
        if not names:
            return match.group(0)
        plain_values = re.sub(r"[][(),']", "", values)
        return f"--{names[0].replace('_', '-')} {plain_values}"

    return re.sub(r"\b([A-Za-z]\w*) ?= ?(\[[^]]*\]|\([^)]*\)|'[^']*'|)", option, text)


def _options(command: Any) -> set[str]:
    """Return the names of a command's options, those of the records in it too."""
    found: set[str] = set()
    for one in fields(command):
        made = one.default_factory
        found |= _options(made) if is_dataclass(made) else {one.name}
    return found


def _parse(arguments: list[str]) -> Command | int:
    """Return the command, or the exit status of `--help` (0) or of arguments that do not fit (2)."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.extras.subcommand_cli_from_dict(
                COMMANDS,
                prog="ntkspec",
                args=arguments,
                description="Which frequencies a coordinate network will learn, how fast, and whether to trust that.",
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.SuppressFixed),
            )
    except SystemExit as end:
        if end.code in (0, None):
            return 0
        if (refused := _raised_here(end)) is not None:
            return _refuse(_on_command_line(refused, COMMANDS[arguments[0]]))
    words = " ".join(re.sub(r"\x1b\[[0-9;]*m|[╭╮╰╯│─]|-{9,}", " ", complaint.getvalue()).split())
    # What tyro frames in a box: a title, then the complaint, then where to find help.
    words = re.sub(r"^(Unrecognized options|Value error|Required options|Parsing error)\s+", "", words)
    words = re.split(r"\s*(?:Argument helptext|For full helptext|─)", words)[0].rstrip(" :")
    return _refuse(f"{words}; SIGNAL comes before options that take several values (see ntkspec COMMAND --help)")


def _refuse(message: str) -> int:
    print("ntkspec: " + " ".join(message.split()), file=sys.stderr)
    return 2
