"""The command line, one file a command: ``ntkspec report``, ``spectrum``, ``predict``, ``design`` and ``validate``.

Only settings are imported here, so that ``--help`` answers at once; each command imports what it runs.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from collections.abc import Callable
from typing import Any

from ntkspec.extras import needs

with needs("app", "tyro"):
    import tyro

    from ntkspec.cli._design import Design
    from ntkspec.cli._predict import Predict
    from ntkspec.cli._report import Report
    from ntkspec.cli._shared import as_options, plain
    from ntkspec.cli._spectrum import Spectrum
    from ntkspec.cli._validate import Validate

__all__ = ["main"]

Command = Report | Spectrum | Predict | Design | Validate
COMMANDS: dict[str, Callable[..., Any]] = {
    "report": Report,
    "spectrum": Spectrum,
    "predict": Predict,
    "design": Design,
    "validate": Validate,
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
        return _refuse(as_options(str(error)))
    print(json.dumps(plain(result), allow_nan=False) if parsed.json else parsed.text(result))
    return 0


def _parse(arguments: list[str]) -> Command | int:
    """The command, or the exit status of `--help` (0) or of arguments that do not fit (2)."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.extras.subcommand_cli_from_dict(
                COMMANDS,
                prog="ntkspec",
                args=arguments,
                description="Which frequencies a coordinate network will learn, how fast, and whether to trust that.",
                config=(tyro.conf.OmitArgPrefixes,),
            )
    except SystemExit as end:
        if end.code in (0, None):
            return 0
    words = " ".join(re.sub(r"\x1b\[[0-9;]*m|[╭╮╰╯│─]", " ", complaint.getvalue()).split())
    # What tyro frames in a box: a title, then the complaint, then where to find help.
    words = re.sub(r"^(Unrecognized options|Value error|Required options|Parsing error)\s+", "", words)
    words = re.split(r"\s*(?:Argument helptext|For full helptext|─)", words)[0].rstrip(" :")
    return _refuse(f"{words}; SIGNAL comes before options that take several values (see ntkspec COMMAND --help)")


def _refuse(message: str) -> int:
    print("ntkspec: " + " ".join(message.split()), file=sys.stderr)
    return 2
