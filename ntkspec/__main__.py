"""The console's way in: ``ntkspec`` and ``python -m ntkspec``."""

from __future__ import annotations

import os
import sys

from ntkspec.extras import MissingExtra

__all__ = ["entry"]


def entry() -> None:
    """Run the command line and leave the process with its exit status; Ctrl-C leaves with 130 in one line."""
    try:
        from ntkspec.cli import main

        status = main()
    except MissingExtra as missing:
        print(f"ntkspec: {missing}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt as stop:
        # Training that keeps checkpoints says where it stands.
        saved = f"; training was {stop}, --resume goes on from there" if str(stop) else ""
        print(f"ntkspec: stopped; no output was replaced{saved}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        # JAX's worker threads may still be computing, and the interpreter's own way out would crash under them.
        os._exit(130)
    sys.exit(status)


if __name__ == "__main__":
    entry()
