"""1-D signals: the paper's random power-law signal, and samples from a `.npy` or `.wav` file."""

from __future__ import annotations

import warnings
from math import isfinite
from pathlib import Path

import numpy as np

from ntkspec.checks import check_seed, check_sizes, check_that
from ntkspec.limits import refuse_if_too_large
from ntkspec.task._piece import cut
from ntkspec.task._task import MIN_SIDE, Task, check_varying, existing_file, reading

__all__ = ["from_file", "paper"]

#: Bytes of a signal in memory over those of its file, which has one to eight a sample; of one byte, float64 and copies.
EXPANSION = 32
#: Share of a signal's variance that is left of it at least where it is decimated; below, a piece says more of it.
MOST = 0.5


def paper(*, alpha: float = 1.0, num_points: int = 32, oversampling: int = 8, seed: int = 0) -> Task:
    """Draw the paper's random 1-D signal, with a power-law spectrum cut at a quarter of the lattice.

    On n = num_points · oversampling points, with z_k a standard complex Gaussian,

        s = Re ifft( z_k (1 + min(k, n − k))^−alpha  for k < n/4, else 0 ), y = (s − min s) / (max s − min s) − ½.

    Every `oversampling`-th point trains, the others test. So the signal reaches past the Nyquist frequency
    num_points / 2 of the training points, as in the paper.

    Args:
        alpha: decay exponent of the amplitudes; 0 is white.
        num_points: training points, N; at least 8.
        oversampling: lattice points for each training point, M; at least 2.
        seed: seed of the numpy generator.

    Returns:
        The task, values in [−½, ½].

    Raises:
        ValueError: if a count is too small, or `alpha` is not finite or too steep for any wave to be left.

    Source:
        Tancik et al. 2020, the 1-D experiments and their notebook. The notebook draws z_k from JAX's
        PRNGKey(0), which numpy does not reproduce: the law is the paper's, the signal another draw from it.

    Example:
        >>> task = paper(alpha=1.0)
        >>> float(task.values.min()), float(task.values.max())
        (-0.5, 0.5)
    """
    check_sizes(MIN_SIDE, num_points=num_points)
    check_sizes(2, oversampling=oversampling)
    check_seed(seed)
    n = num_points * oversampling
    k = np.arange(n)
    real, imaginary = np.random.default_rng(seed).standard_normal((2, n))
    with np.errstate(all="ignore"):
        amplitude = np.where(k < n // 4, (1.0 + np.minimum(k, n - k)) ** -alpha, 0.0)
        # The mean goes in the scaling anyhow; kept until then, it would drown the waves of a steep spectrum.
        amplitude[0] = 0.0
        s = np.fft.ifft(real * amplitude + 1j * imaginary * amplitude).real
        span = s.max() - s.min()
    is_left = isfinite(span) and span > 0
    check_that(is_left, f"alpha = {alpha} leaves no wave that float64 can hold; take one between -20 and 20.")
    train = k % oversampling == 0
    return Task(
        name=f"power-law signal, alpha = {alpha:g}",
        values=(s - s.min()) / span - 0.5,
        train_mask=train,
        test_mask=~train,
        source=f"random signal of Tancik et al. 2020, numpy seed {seed}",
    )


def from_file(path: str | Path, *, max_length: int = 2048) -> Task:
    """Load a 1-D signal from a `.npy` array or a `.wav` recording; even samples train, odd samples test.

    Values are mapped to [−½, ½]. A longer signal is low-pass filtered and decimated by a whole factor, or, where
    less than half of its variance would be left, cut to the window with most detail. Each leaves a notice.

    Args:
        path: the file. A `.npy` holds a real array, shape (n,), (n, 1) or (1, n).
        max_length: longest signal kept, in samples; at least 8.

    Returns:
        The task, values in [−½, ½].

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no such signal, or the signal is too short, constant or not finite.
    """
    found = existing_file(path)
    with found.open("rb") as file:
        is_array = file.read(6) == b"\x93NUMPY"
    size = found.stat().st_size
    refuse_if_too_large(EXPANSION * size, f"reading {found.name} ({size / 2**20:.0f} MiB)", "take a part of it")
    values, notices = _read_npy(found) if is_array or found.suffix.lower() == ".npy" else _read_wav(found)
    return sampled(values, found.stem, found.name, notices, max_length)


def sampled(values: np.ndarray, name: str, source: str, notices: list[str], max_length: int) -> Task:
    """Make a task of evenly spaced samples, shape (n,), shortened and rescaled as `from_file` says."""
    check_sizes(MIN_SIDE, max_length=max_length)
    check_that(values.size >= MIN_SIDE, f"{source} holds {values.size} samples; expected at least {MIN_SIDE}.")
    check_varying(values, source)
    if values.size > max_length:
        values, notice = _decimate(values, max_length, source)
        notices = [*notices, notice]
    values, affine = _to_half_unit(values)
    even = np.arange(values.size) % 2 == 0
    return Task(name, values, train_mask=even, test_mask=~even, notices=(*notices, *affine), source=source)


def _read_npy(path: Path) -> tuple[np.ndarray, list[str]]:
    # A header may promise more than the file, or the memory, holds.
    again = "write it again with numpy.save, as floats."
    with reading(path, "is not a complete .npy array of numbers", again), path.open("rb") as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
    hint = "save its real part or its magnitude" if array.dtype.kind == "c" else "save it as floats"
    is_real = array.dtype.kind in "biuf"
    check_that(is_real, f"{path.name} holds {array.dtype} values; expected real numbers: {hint}.")
    remedy = "save a single row of it, or for a 2-D field give an image, such as a PNG or a TIFF."
    is_line = array.size == max(array.shape, default=0)
    check_that(is_line, f"{path.name} has shape {array.shape}; expected one dimension: {remedy}")
    is_row = array.ndim > 1
    notices = [f"The array of shape {array.shape} was read as {array.size} samples."] if is_row else []
    return array.reshape(-1).astype(np.float64), notices


def _read_wav(path: Path) -> tuple[np.ndarray, list[str]]:
    from scipy.io import wavfile

    to_pcm = "convert it to 16-bit PCM."
    with (
        reading(path, "is not a .wav recording that can be read", to_pcm),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        rate, data = wavfile.read(path)
    notices = [f"Sampled at {rate} Hz; its length is taken as the unit interval."]
    # Chunks it skips are tags and the like; a premature end is lost sound.
    notices += [f"{warning.message}." for warning in caught if "EOF" in str(warning.message)]
    if data.dtype.kind == "u":
        values = (data.astype(np.float64) - 128) / 128
    elif data.dtype.kind == "i":
        values = data.astype(np.float64) / 2.0 ** (8 * data.dtype.itemsize - 1)
    else:
        values = data.astype(np.float64)
    if values.ndim == 2:
        notices.append(f"The {values.shape[1]} channels were averaged to one.")
        single, values = values, values.mean(axis=1)
        check_that(
            np.ptp(values) >= 1e-3 * np.ptp(single, axis=0).max(),
            f"the {single.shape[1]} channels of {path.name} cancel in their average, which is what is learned: they "
            "are in antiphase; save one of them.",
        )
    return values, notices


def _decimate(values: np.ndarray, max_length: int, label: str) -> tuple[np.ndarray, str]:
    from scipy.signal import resample_poly

    factor = -(-values.size // max_length)
    # Scaled, so that no variance overflows; "reflect" spares it ringing where the ends differ.
    scale = np.abs(values).max()
    short = resample_poly(values / scale, 1, factor, padtype="reflect")
    lost = 1 - (np.std(short) / np.std(values / scale)) ** 2
    # Stretched to full height, what little a filter leaves would be another signal.
    if lost > 1 - MOST:
        every = np.ones(values.shape, bool)
        part, _, where = cut(Task(label, values / scale, every, ~every), max_length)
        fast = f"{lost:.0%} of its variance is faster than {short.size:,} samples of the whole would resolve"
        return part.values * scale, f"Cut, for {fast}. {where}"
    notice = f"Reduced from {values.size} to {short.size} samples (low-pass filtered, 1 in {factor} kept)"
    return short * scale, notice + (f"; {lost:.0%} of its variance was too fast." if lost > 0.01 else ".")


def _to_half_unit(values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    low, high = values.min(), values.max()
    if low == -0.5 and high == 0.5:
        return values, ()
    # Halves, because the span of two finite numbers may overflow.
    half_span = high / 2 - low / 2
    mapped = (values / 2 - low / 2) / half_span - 0.5
    middle = low / 2 + high / 2
    # A middle within a few roundings of the ends is zero.
    middle = 0.0 if abs(middle) <= 8 * np.finfo(float).eps * half_span else middle
    notice = f"Values mapped to [-0.5, 0.5] by (v - {middle:.6g}) / (2 × {half_span:.6g})."
    return mapped, (notice,)
