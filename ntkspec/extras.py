"""Packages that only some parts need, and the line that says how to install them. A leaf."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["MissingExtra", "needs"]


class MissingExtra(ImportError):
    """A package of an optional part is not installed."""


@contextmanager
def needs(extra: str, *packages: str) -> Iterator[None]:
    """Import packages of an extra of `setup.cfg`, or say how to install it.

    Args:
        extra: name of the extra.
        *packages: names under which its packages are imported; a failure of any other passes unchanged.

    Raises:
        MissingExtra: if one of them is not installed.

    Example:
        >>> with needs("app", "no_such_package"):
        ...     import no_such_package
        Traceback (most recent call last):
        ntkspec.extras.MissingExtra: this needs no_such_package, which is not installed: pip install 'ntkspec[app]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in packages:
            raise
        raise MissingExtra(f"this needs {package}, which is not installed: pip install 'ntkspec[{extra}]'") from None
