"""What numerics may use of the machine, and the sizes at which they change their method. A leaf."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import psutil

__all__ = ["Limits", "current", "limited", "refuse_if_too_large"]


@dataclass(frozen=True)
class Limits:
    """Sizes that bound memory and choose between methods; results agree within their error bounds whatever they are.

    Attributes:
        memory: bytes that an allocation may take; None asks the operating system what is available.
        exact_points: number of points up to which a matrix is decomposed as a whole if nothing else is exact. If a few
            products would do, it is decomposed up to a quarter of that, in a second (`cheap_points`).
        side_by_side: numbers in the arrays that are worked on at once; more of them are worked on in turn.
        direct_points: number of points up to which a product of exact entries may replace a long Fourier series.
        block: number of points on a side of the blocks of a matrix that is not kept; None takes what suits the device.
        table: numbers in a table of lags at most.
        products: numbers that go through products to find a trace or a norm exactly; beyond, both are estimated.
        networks: number that is trained together; None takes as many as fit in memory.
        threads: number of networks that a processor trains at the same time, one after another in each thread; None
            takes its cores, 0 trains all side by side in one program.
        tiles_together: number of tiles in one call of a compiled program, between two reports of progress.
        covariances: entries of one array of covariances between positions, for networks of convolutions.
        svg: bytes of a vector picture in a page; a larger one is embedded as pixels, which are smaller and open faster.
    """

    memory: int | None = None
    exact_points: int = 4096
    side_by_side: int = 2**22
    direct_points: int = 8192
    block: int | None = None
    table: int = 2**24
    products: int = 2**28
    networks: int | None = None
    threads: int | None = None
    tiles_together: int = 256
    covariances: int = 2**25
    svg: int = 600_000

    @property
    def cheap_points(self) -> int:
        """Number of points up to which a matrix is decomposed even if a few products would do."""
        return self.exact_points // 4

    @property
    def available(self) -> int:
        """Bytes that an allocation may take now."""
        return psutil.virtual_memory().available if self.memory is None else self.memory


_DEFAULT = Limits()
_CURRENT: ContextVar[Limits] = ContextVar("limits", default=_DEFAULT)


def current() -> Limits:
    """Return the limits in force in this context."""
    return _CURRENT.get()


@contextmanager
def limited(**changes: Any) -> Iterator[Limits]:
    """Change limits within a block.

    Args:
        **changes: fields of `Limits`, by name.

    Yields:
        The limits in force.

    Raises:
        TypeError: if a name is not a field of `Limits`.

    Example:
        >>> with limited(memory=2**30) as limits:
        ...     limits.available
        1073741824
    """
    token = _CURRENT.set(replace(current(), **changes))
    try:
        yield current()
    finally:
        _CURRENT.reset(token)


def refuse_if_too_large(num_bytes: float, what: str, instead: str) -> None:
    """Refuse an allocation before it is made.

    Args:
        num_bytes: size of the allocation.
        what: description of the work, with its size.
        instead: what fits.

    Raises:
        ValueError: if that much memory is not available now.
    """
    available = current().available
    if num_bytes > available:
        raise ValueError(
            f"{what} would need {num_bytes / 2**30:.3g} GiB, of {available / 2**30:.3g} GiB available; {instead}"
        )
