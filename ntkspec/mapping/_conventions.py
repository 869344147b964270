"""Encodings as other people's code writes them, in cycles per unit of [0, 1).

A coordinate v in [0, 1) stands for low + (high − low) v in the source's range, so a phase of ω radians per unit there
is b = ω (high − low)/2π cycles per unit here: all that a lost π, a doubled range or a "scale" comes to. Moving the
origin only turns each pair (cos, sin) by an angle, which no kernel sees, nor a network of Gaussian weights on average.
A range is one number for all axes, or one for each.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ntkspec.checks import check_positive, check_sizes
from ntkspec.mapping._base import JoinedMapping
from ntkspec.mapping._fourier import FourierMapping, from_frequencies
from ntkspec.mapping._identity import identity, range_lengths
from ntkspec.mapping._ladder import axis_aligned

__all__ = ["bacon", "from_radians", "nerf", "siren_first_layer", "tiny_cuda_nn"]


def from_radians(
    omega: ArrayLike, a: ArrayLike | None = None, *, low: ArrayLike = 0.0, high: ArrayLike = 1.0, normalize: bool = True
) -> FourierMapping:
    """Frequencies in radians per unit of another range: γ = [a cos ω·p, a sin ω·p] of p in [low, high).

    The paper's NeRF notebook (3d_simple_nerf) is written so: no 2π, world coordinates, its σ = 26 is 4.1 cycles per
    world unit. So are many codes for differential equations.

    Args:
        omega: ω, shape (m, d), radians per unit of the source's coordinates.
        a: amplitudes, shape (m,); None means all equal.
        low: the source's coordinate at 0 here.
        high: the source's coordinate at 1 here.
        normalize: scale the amplitudes to Σ a² = 1.

    Returns:
        The mapping, with b = ω (high − low)/2π cycles per unit.

    Raises:
        ValueError: if the range is empty, or as `from_frequencies` does.

    Source: https://github.com/tancik/fourier-feature-networks, Experiments/3d_simple_nerf.ipynb.

    Example:
        >>> import math, ntkspec as ns
        >>> ns.mapping.from_radians([[math.pi]], low=-1, high=1).frequencies.tolist()
        [[1.0]]
    """
    omega = np.asarray(omega, dtype=float)
    turns = range_lengths(low, high, omega.shape[-1] if omega.ndim else 1) / (2 * math.pi)
    return from_frequencies(omega * turns, a, normalize=normalize)


def nerf(
    dim: int,
    num_frequencies: int,
    *,
    include_pi: bool = True,
    include_input: bool = False,
    low: ArrayLike = -1.0,
    high: ArrayLike = 1.0,
    normalize: bool = True,
) -> FourierMapping | JoinedMapping:
    """NeRF's positional encoding, sin(2^j πp) and cos(2^j πp) for j = 0 … L − 1 on each axis.

    The paper has the π and coordinates in [−1, 1]: b = 2^j cycles per unit, all whole numbers. The published code
    leaves the π out (b = 2^j/π), so that no period fits into the scene, and appends p itself; its forward-facing
    scenes lie in [−1, 1], many synthetic ones in [−1.5, 1.5].

    Args:
        dim: number of coordinates d.
        num_frequencies: L, counted on each axis as the source does (10 for positions, 4 for directions); m = d·L.
        include_pi: True as in the paper, False as in the code of bmild/nerf and its ports.
        include_input: append the coordinates p, as the code does. A network behind such a mapping has no stationary
            kernel: operator.dense holds it, operator.lattice does not.
        low: p at coordinate 0.
        high: p at coordinate 1.
        normalize: divide γ by √m, the norm of its sinusoids; otherwise a = 1 as in the source.

    Returns:
        The mapping, frequencies (d·L, d), axis by axis: b = 2^j (high − low)/2, over π without `include_pi`.

    Raises:
        ValueError: if a size is not a positive integer or the range is empty.

    Source: Mildenhall et al. 2020, equation 4; https://github.com/bmild/nerf, run_nerf_helpers.py, and its
    issue 12, where the author says why π is left out.

    Example:
        >>> import ntkspec as ns
        >>> ns.mapping.nerf(dim=1, num_frequencies=4).frequencies[:, 0].tolist()
        [1.0, 2.0, 4.0, 8.0]
        >>> [round(float(b), 3) for (b,) in ns.mapping.nerf(1, 2, include_pi=False).frequencies]
        [0.318, 0.637]
    """
    check_sizes(dim=dim, num_frequencies=num_frequencies)
    half_range = range_lengths(low, high, dim) / 2
    ladder = 2.0 ** np.arange(num_frequencies) / (1 if include_pi else math.pi)
    mapping = from_frequencies(axis_aligned(dim, ladder) * half_range, normalize=normalize)
    if not include_input:
        return mapping
    weight = 1 / mapping.num_frequencies if normalize else 1.0
    return JoinedMapping((identity(dim, low=low, high=high), mapping), jnp.array([weight, 1.0]))


def tiny_cuda_nn(
    dim: int, num_frequencies: int, *, low: ArrayLike = 0.0, high: ArrayLike = 1.0, normalize: bool = True
) -> FourierMapping:
    """Build the "Frequency" encoding of tiny-cuda-nn, sin(2^j πp) and sin(2^j πp + π/2), j = 0 … n − 1 on each axis.

    This is NeRF's encoding with its π, but on the unit cube, where the lowest frequency makes half a turn and the
    kernel is not periodic. Constant features of value 1 with which the library fills up to its alignment are not part
    of it; a zero frequency adds them.

    Args:
        dim: number of coordinates d.
        num_frequencies: n, its "n_frequencies" (12 by default there), counted on each axis; m = d·n.
        low: p at coordinate 0.
        high: p at coordinate 1.
        normalize: scale the amplitudes to Σ a² = 1; otherwise a = 1 as in the source.

    Returns:
        The mapping, frequencies (d·n, d), axis by axis: b = 2^j (high − low)/2.

    Raises:
        ValueError: if a size is not a positive integer or the range is empty.

    Source: https://github.com/NVlabs/tiny-cuda-nn, include/tiny-cuda-nn/encodings/frequency.h, and issue 298 on the π.

    Example:
        >>> import ntkspec as ns
        >>> ns.mapping.tiny_cuda_nn(dim=1, num_frequencies=4).frequencies[:, 0].tolist()
        [0.5, 1.0, 2.0, 4.0]
    """
    return nerf(dim, num_frequencies, low=low, high=high, normalize=normalize)  # type: ignore[return-value]


def bacon(
    dim: int,
    num_frequencies: int,
    max_frequency: float,
    *,
    hidden_layers: int = 3,
    quantization_interval: float = 2 * math.pi,
    low: ArrayLike = -0.5,
    high: ArrayLike = 0.5,
    seed: int = 0,
    normalize: bool = True,
) -> FourierMapping:
    """One filter layer of BACON: sin(ω·p + φ), ω uniform on whole multiples of an interval, φ uniform on a turn.

    BACON multiplies hidden_layers + 1 such layers, whose frequencies add. Its `max_freq` is a sample rate: the sum
    reaches about max_frequency/2 cycles per unit, and each layer |b| ≤ round(max_frequency/(2 (hidden_layers + 1))).
    This is its first layer, not the product, which no network of `ntkspec.kernel` is. The m sines of random phase are
    held as pairs (cos, sin): the same expected inner product, without its scatter of order 1/√m that is no function of
    the lag.

    Args:
        dim: number of coordinates d.
        num_frequencies: m, the units of the layer (its "hidden_features").
        max_frequency: its `max_freq`, samples per unit of its coordinates: twice the highest frequency.
        hidden_layers: multiplied layers after the first.
        quantization_interval: step between angular frequencies, radians per unit of its coordinates.
        low: p at coordinate 0.
        high: p at coordinate 1.
        seed: of the draw (numpy's default generator).
        normalize: scale the amplitudes to Σ a² = 1; otherwise a = 1.

    Returns:
        The mapping, frequencies (m, d); whole numbers for the default interval and range.

    Raises:
        ValueError: if a size is not a positive integer, or if the band of a layer holds no frequency but 0.

    Source: Lindell et al. 2022, "BACON: band-limited coordinate networks for multiscale scene representation";
    https://github.com/computational-imaging/bacon, modules.py (FourierLayer, BACON), and its issue 3.

    Example:
        >>> import ntkspec as ns
        >>> g = ns.mapping.bacon(dim=1, num_frequencies=200, max_frequency=32)
        >>> float(abs(g.frequencies).max()), g.periodic
        (4.0, True)
    """
    check_sizes(dim=dim, num_frequencies=num_frequencies, **({"hidden_layers": hidden_layers} if hidden_layers else {}))
    check_positive("max_frequency", max_frequency, "samples per unit, twice the highest frequency")
    check_positive("quantization_interval", quantization_interval, "radians per unit; 2π for whole cycles")
    # Python's round, halves to even, is the source's.
    steps = round(math.pi * max_frequency / (hidden_layers + 1) / quantization_interval)
    if steps == 0:
        raise ValueError(
            f"max_frequency={max_frequency} shared by {hidden_layers + 1} layers leaves none but the frequency 0; "
            f"expected at least {(hidden_layers + 1) * quantization_interval / math.pi:.3g}, or fewer hidden_layers"
        )
    draw = np.random.default_rng(seed).integers(-steps, steps + 1, (num_frequencies, dim))
    step = quantization_interval / (2 * math.pi) * range_lengths(low, high, dim)
    return from_frequencies(draw * step, normalize=normalize)


def siren_first_layer(
    dim: int,
    num_frequencies: int,
    omega_0: float = 30.0,
    *,
    low: ArrayLike = -1.0,
    high: ArrayLike = 1.0,
    seed: int = 0,
    normalize: bool = False,
) -> FourierMapping:
    """Return the first layer of SIREN at its start, sin(ω₀(w·p + c)) with w ~ U[−1/d, 1/d], as a mapping.

    Frequencies are ω₀w (high − low)/2π, so |b| ≤ ω₀/(πd) on each axis over [−1, 1]: 9.5 cycles per unit for ω₀ = 30 in
    one dimension, 4.8 in two.

    It is a model of the layer. The bias c ~ U[−1/√d, 1/√d] is a phase of ω₀c, ±30 radians in one dimension, so nearly
    uniform on the turn (less so for small ω₀): then E[sin A sin B] = ½ cos(A − B), which the pair (cos, sin) of
    amplitude 1/√2 has exactly. The m sines of a real layer scatter about that by order 1/√m, in parts that are no
    function of the lag. And SIREN trains w and c: a kernel behind the mapping lacks the first layer's own part.

    Args:
        dim: number of coordinates d.
        num_frequencies: m, the units of the layer.
        omega_0: ω₀.
        low: p at coordinate 0.
        high: p at coordinate 1. SIREN's grids of n points end on both borders: −1 + 2n/(n − 1) makes them i/n here.
        seed: of the draw (numpy's default generator).
        normalize: scale the amplitudes to Σ a² = 1; otherwise a = 1, whose mean square feature |γ|²/2m = ½ is that of
            the m sines.

    Returns:
        The mapping, frequencies (m, d), cycles per unit.

    Raises:
        ValueError: if a size is not a positive integer, ω₀ is not positive or the range is empty.

    Source: Sitzmann et al. 2020, "Implicit neural representations with periodic activation functions", section 3.2;
    https://github.com/vsitzmann/siren, modules.py (Sine, first_layer_sine_init) and dataio.py (get_mgrid).

    Example:
        >>> import ntkspec as ns
        >>> g = ns.mapping.siren_first_layer(dim=2, num_frequencies=256)
        >>> bool(abs(g.frequencies).max() <= 30 / (2 * 3.1415))
        True
    """
    check_sizes(dim=dim, num_frequencies=num_frequencies)
    check_positive("omega_0", omega_0, "radians; SIREN takes 30")
    weights = np.random.default_rng(seed).uniform(-1 / dim, 1 / dim, (num_frequencies, dim))
    return from_radians(omega_0 * weights, low=low, high=high, normalize=normalize)
