"""The table of docs/activations.md: measured and bounded here; `make table` writes what this run has measured."""

from pathlib import Path

import jax
import oracle_accuracy
import oracle_network
import pytest

from ntkspec.kernel import Numerical
from ntkspec.kernel.activation import ACTIVATIONS, named

PAGE = Path(__file__).parents[2] / "docs" / "activations.md"
COLUMNS = ["E[φφ]", "E[φ'φ']", "NNGP", "NTK", "NNGP, nt", "NTK, nt"]
AGAINST_MPMATH, AGAINST_TANGENTS = 1e-14, 1e-12
#: Two machines order the same sums differently: errors of a few roundings are known to a factor.
ALIKE, ROUNDING = 8, 5e-16

TEXT = """\
# Activations

This page is written by `make table`, from a run of the tests that bound its numbers; an error beyond 1e-14 against
mpmath, or beyond 1e-12 against neural-tangents, fails that run. No number here is typed by hand.

An error is |found − true|/√(k(x, x) k(z, z)), with k the quantity of its column: relative to the size of the kernel of
the two points. It is not relative to k(x, z) where that crosses zero. Each is the worst over versines 1 − ρ of
{versines}, second moments {seconds} and, for networks, b_std of {biases}, at W_std = 1 (√2/ω₀ for siren, by which
also its second moments are scaled). NNGP and NTK are those of a network of depth {depth}. The columns "nt" compare
with neural-tangents on pairs of points in general position; a dash says that one side has no such kernel. `swish` is
another name of `silu`.

Entries/s: a dense Gram (NTK; NNGP of sign) of n = {points} points, L = {layers}, {features} features, float64, median
of {repeats} after compilation, on {machine}, jax {jax}.

| activation | expectations | {columns} | entries/s |
| --- | --- |{rules} --- |
"""


@pytest.fixture(scope="module")
def rows():
    """What the tests of this module have measured so far."""
    return {}


def kind(name):
    return "quadrature" if isinstance(named(name), Numerical) else "closed form"


def written():
    """The page's rows: {name: [kind, errors ...]}."""
    lines = [line.strip("| \n").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in lines[2:]}


@pytest.mark.parametrize("name", oracle_accuracy.names())
def test_errors_are_bounded(name, rows):
    mpmath, tangents = oracle_accuracy.against_mpmath(name), oracle_accuracy.against_tangents(name)
    rows[name] = [*mpmath, *tangents]
    limits = [AGAINST_MPMATH] * 4 + [AGAINST_TANGENTS] * 2
    for column, error, limit in zip(COLUMNS, rows[name], limits, strict=True):
        assert error is None or error <= limit, column
    assert (tangents[0] is not None) == (oracle_network.stax_layer(name) is not None)
    assert all(error is not None for error in mpmath) == named(name).differentiable


def test_the_page_is_what_was_measured(rows, request):
    """Or becomes it: with --write-table."""
    if request.config.getoption("--write-table"):
        assert list(rows) == oracle_accuracy.names(), "the whole module has to run"
        PAGE.write_text(page(rows))
    for name, errors in rows.items():
        for column, error, cell in zip(COLUMNS, errors, written()[name][1:-1], strict=True):
            assert (error is None) == (cell == "–"), (name, column)
            if error is not None:
                stated = float(cell)
                assert max(error, ROUNDING) <= ALIKE * max(stated, ROUNDING), (name, column)
                assert max(stated, ROUNDING) <= ALIKE * max(error, ROUNDING), (name, column)


def test_the_page_lists_every_activation():
    assert list(written()) == [name for name in ACTIVATIONS if name != "swish"]
    assert ACTIVATIONS["swish"]() == ACTIVATIONS["silu"]()
    assert {name: cells[0] for name, cells in written().items()} == {name: kind(name) for name in written()}


def page(rows):
    from benchmarks import activations as speed

    head = TEXT.format(
        versines=", ".join(f"{v:g}" if v <= 1.9 else f"2 − {2 - v:.0e}" for v in oracle_accuracy.VERSINES),
        seconds=" and ".join(f"({x:g}, {z:g})" for x, z in oracle_accuracy.SECONDS),
        biases=" and ".join(f"{b:g}" for b in oracle_accuracy.BIASES),
        depth=oracle_accuracy.DEPTH,
        points=speed.POINTS,
        layers=speed.DEPTH,
        features=2 * speed.FREQUENCIES,
        repeats=speed.REPEATS,
        machine=speed.machine(),
        jax=jax.__version__,
        columns=" | ".join(COLUMNS),
        rules=" --- |" * len(COLUMNS),
    )
    lines = []
    for name, errors in rows.items():
        cells = ["–" if error is None else f"{error:.1e}" for error in errors]
        lines.append(f"| {' | '.join([name, kind(name), *cells])} | {speed.entries_per_second(name):.1e} |")
    return head + "\n".join(lines) + "\n"
