import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import wavfile

from ntkspec import limits
from ntkspec.task import signal


def wave(n, frequency=3):
    return np.sin(2 * np.pi * frequency * np.arange(n) / n)


def saved(folder, array, name="signal.npy"):
    np.save(folder / name, array)
    return folder / name


@settings(deadline=None)
@given(st.integers(8, 40), st.integers(2, 9), st.integers(0, 2**32), st.floats(-2, 5))
def test_paper_signal(num_points, oversampling, seed, alpha):
    task = signal.paper(alpha=alpha, num_points=num_points, oversampling=oversampling, seed=seed)
    n = num_points * oversampling
    assert task.shape == (n,)
    assert task.train_points.shape == (num_points, 1)
    assert task.test_points.shape == (n - num_points, 1)
    np.testing.assert_allclose(task.train_points[:, 0], np.arange(num_points) / num_points)
    assert task.values.min() == -0.5
    assert task.values.max() == 0.5
    power = np.abs(np.fft.rfft(task.values))
    assert power[max(1, n // 4) :].max() < 1e-12 * n
    assert power[1 : n // 4].max() > 1e-3


@settings(deadline=None)
@given(st.integers(0, 1000), st.floats(-3, 6))
def test_paper_amplitudes_decay_as_a_power(seed, alpha):
    k = np.arange(1, 64)
    steep = np.abs(np.fft.rfft(signal.paper(alpha=alpha, seed=seed).values))[k]
    white = np.abs(np.fft.rfft(signal.paper(alpha=0.0, seed=seed).values))[k]
    # The same draw under two laws: the ratio is the power law, up to the two min-max scalings.
    ratio = steep / white * (1.0 + k) ** alpha
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)


def test_paper_signal_is_the_inverse_transform_written_out():
    real, imaginary = np.random.default_rng(7).standard_normal((2, 256))
    k = np.arange(64)
    points = np.arange(256)[:, None] / 256
    s = ((real + 1j * imaginary)[:64] / (1.0 + k) * np.exp(2j * np.pi * k * points)).sum(axis=1).real
    expected = (s - s.min()) / (s.max() - s.min()) - 0.5
    np.testing.assert_allclose(signal.paper(seed=7).values, expected, atol=1e-13)


def test_paper_options_change_the_signal():
    default = signal.paper()
    assert default.values.tolist() == signal.paper(seed=0).values.tolist()
    assert default.values.tolist() != signal.paper(seed=1).values.tolist()
    assert default.values.tolist() != signal.paper(alpha=2.0).values.tolist()
    assert default.notices == ()


def test_paper_holds_for_a_steep_spectrum():
    values = signal.paper(alpha=60.0).values
    # One wave is left.
    assert np.argmax(np.abs(np.fft.rfft(values))[1:]) == 0
    np.testing.assert_allclose(np.abs(np.fft.rfft(values))[2:], 0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_points": 7}, "num_points=7; expected a whole number of at least 8"),
        ({"oversampling": 1}, "oversampling=1; expected a whole number of at least 2"),
        ({"seed": -1}, "seed=-1; expected a whole number"),
        ({"alpha": np.nan}, "alpha = nan leaves no wave"),
        ({"alpha": 5000.0}, "alpha = 5000.0 leaves no wave"),
        ({"alpha": -5000.0}, "alpha = -5000.0 leaves no wave"),
    ],
)
def test_paper_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        signal.paper(**options)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    n=st.integers(8, 300),
    max_length=st.integers(8, 100),
    dtype=st.sampled_from(["f2", "f4", ">f8", "i2", "u1", "longdouble"]),
)
def test_any_length_and_type_of_npy(tmp_path, n, max_length, dtype):
    path = saved(tmp_path, (100 + 100 * wave(n, 1)).astype(dtype))
    task = signal.from_file(path, max_length=max_length)
    assert max_length / 2 <= task.shape[0] <= max_length or task.shape[0] == n <= max_length
    assert task.values.min() == -0.5
    assert task.values.max() == 0.5
    assert len(task.train_values) == (task.shape[0] + 1) // 2
    assert len(task.test_values) == task.shape[0] // 2
    assert ("Reduced" in "".join(task.notices)) == (n > max_length)


def test_a_midpoint_of_rounding_is_none(tmp_path):
    i = np.arange(64)
    values = 0.4 * np.sin(2 * np.pi * i / 16) + 0.2 * np.cos(2 * np.pi * 3 * i / 16)
    assert 0 < abs(values.min() + values.max()) < 1e-15
    notices = [signal.from_file(saved(tmp_path, 1e-6 * offset + values)).notices[0] for offset in (0, 1)]
    assert "by (v - 0) / (2 × 0.554328)" in notices[0]
    assert "by (v - 1e-06) / (2 × 0.554328)" in notices[1]


def test_npy_values_keep_their_shape(tmp_path):
    values = np.random.default_rng(0).standard_normal(21)
    task = signal.from_file(saved(tmp_path, values))
    np.testing.assert_allclose(task.values, (values - values.min()) / np.ptp(values) - 0.5, atol=1e-14)
    assert task.notices[0].startswith("Values mapped to [-0.5, 0.5] by (v - ")
    assert len(task.notices) == 1
    np.testing.assert_array_equal(task.train_points[:, 0], np.arange(0, 21, 2) / 21)
    np.testing.assert_array_equal(task.test_points[:, 0], np.arange(1, 21, 2) / 21)
    assert (task.name, task.source) == ("signal", "signal.npy")


def test_npy_already_centred_is_left_alone(tmp_path):
    values = np.linspace(-0.5, 0.5, 12)
    task = signal.from_file(saved(tmp_path, values))
    np.testing.assert_array_equal(task.values, values)
    assert task.notices == ()


def test_npy_of_booleans(tmp_path):
    task = signal.from_file(saved(tmp_path, np.arange(10) % 3 == 0))
    assert set(task.values) == {-0.5, 0.5}


def test_npy_of_the_largest_numbers(tmp_path):
    task = signal.from_file(saved(tmp_path, 1.7e308 * wave(64)), max_length=32)
    assert np.ptp(task.values) == 1.0


@pytest.mark.parametrize("shape", [(1, 16), (16, 1)])
def test_npy_row_or_column_is_squeezed(tmp_path, shape):
    task = signal.from_file(saved(tmp_path, wave(16).reshape(shape)))
    assert task.shape == (16,)
    assert f"The array of shape {shape} was read as 16 samples." in task.notices


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(0), "holds 0 samples; expected at least 8"),
        (np.arange(7.0), "holds 7 samples"),
        (np.float64(3.0), r"has shape \(\)"),
        (np.full(16, 0.1), "is constant"),
        (np.array([np.nan, *range(9)]), "NaN or infinity at 1 of 10"),
        (np.array([np.inf, *range(9)]), "NaN or infinity at 1 of 10"),
        (wave(16) * 1j, "holds complex128 values; expected real numbers: save its real part"),
        (np.array(["a"] * 9), "holds <U1 values; expected real numbers: save it as floats"),
        (np.arange(9).astype("M8[s]"), r"holds datetime64\[s\] values"),
        (np.array([{}] * 9), "Object arrays cannot be loaded"),
        (np.ones((8, 8)), r"has shape \(8, 8\); expected one dimension.*give an image"),
        (np.ones((2, 2, 2)), r"has shape \(2, 2, 2\); expected one dimension: save a single row"),
    ],
)
def test_npy_refused(tmp_path, array, message):
    with pytest.raises(ValueError, match=message):
        signal.from_file(saved(tmp_path, array))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{}"])
def test_npy_damaged(tmp_path, content):
    path = tmp_path / "bad.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.npy is not a complete \.npy array"):
        signal.from_file(path)


def test_npy_cut_short(tmp_path):
    path = saved(tmp_path, wave(100))
    path.write_bytes(path.read_bytes()[:-80])
    with pytest.raises(ValueError, match="is not a complete"):
        signal.from_file(path)


def test_npy_that_promises_more_than_memory(tmp_path):
    path = saved(tmp_path, wave(100))
    path.write_bytes(path.read_bytes().replace(b"(100,)", b"(9999999999999,)"))
    with pytest.raises(ValueError, match="is not a complete"):
        signal.from_file(path)


def test_npz_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", wave(16))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(ValueError, match="is not a complete"):
        signal.from_file(tmp_path / "a.npy")


def test_missing_file_and_bad_length(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        signal.from_file(tmp_path / "absent.npy")
    with pytest.raises(ValueError, match="max_length=0; expected a whole number of at least 8"):
        signal.from_file(saved(tmp_path, wave(16)), max_length=0)


def test_decimation_keeps_slow_waves_and_drops_fast_ones(tmp_path):
    slow, fast = wave(1024, 5), wave(1024, 200)
    task = signal.from_file(saved(tmp_path, slow + 0.5 * fast), max_length=128)
    assert task.shape == (128,)
    power = np.abs(np.fft.rfft(task.values)) / 64
    assert np.argmax(power) == 5
    # Taken as they come, every 8th sample would show the fast wave at |200 - 128| -> 56 with half the height.
    assert power[56] < 0.005
    assert (
        "Reduced from 1024 to 128 samples (low-pass filtered, 1 in 8 kept); 20% of its variance was too fast."
        in (task.notices[0])
    )


def test_decimation_of_fast_waves_alone(tmp_path):
    values = np.tile([-0.25, 0.25], 512)
    values[700:800] *= 2
    task = signal.from_file(saved(tmp_path, values), max_length=128)
    (notice,) = [notice for notice in task.notices if notice.startswith("Cut")]
    assert "100% of its variance is faster than 128 samples of the whole would resolve. Samples " in notice
    start = int(notice.split("Samples ")[1].split()[0])
    assert 671 <= start <= 700
    np.testing.assert_array_equal(task.values, values[start : start + 128])


def test_a_sound_that_decimation_would_halve_is_cut(tmp_path):
    task = signal.from_file(saved(tmp_path, wave(1024, 5) + 1.5 * wave(1024, 200)), max_length=128)
    assert task.notices[0].startswith("Cut, for 69% of its variance is faster than 128 samples of the whole")


def test_a_file_that_would_not_fit_in_memory_is_not_read(tmp_path):
    path = saved(tmp_path, wave(100))
    with limits.limited(memory=1000), pytest.raises(ValueError, match=r"reading signal\.npy .* would need"):
        signal.from_file(path)


def test_decimation_does_not_ring_at_the_ends(tmp_path):
    task = signal.from_file(saved(tmp_path, np.arange(1000.0)), max_length=100)
    np.testing.assert_allclose(task.values, np.linspace(-0.5, 0.5, 100), atol=0.005)


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8"])
def test_wav_of_any_depth(tmp_path, dtype):
    values = 0.5 * wave(400)
    scale, offset = {"u1": (127, 128), "i2": (32767, 0), "i4": (2**31 - 1, 0)}.get(dtype, (1, 0))
    wavfile.write(tmp_path / "a.wav", 8000, (values * scale + offset).astype(dtype))
    task = signal.from_file(tmp_path / "a.wav")
    np.testing.assert_allclose(task.values, values, atol=0.01)
    assert "Sampled at 8000 Hz; its length is taken as the unit interval." in task.notices
    if dtype[0] != "f":
        half_span = float(task.notices[-1].rstrip(").").split("× ")[1])
        assert half_span == pytest.approx(0.5, abs=0.01)


def test_wav_in_stereo(tmp_path):
    left, right = wave(64, 2), wave(64, 5)
    wavfile.write(tmp_path / "a.wav", 8000, np.stack([left, right], axis=1))
    task = signal.from_file(tmp_path / "a.wav")
    mono = left + right
    np.testing.assert_allclose(task.values, (mono - mono.min()) / np.ptp(mono) - 0.5, atol=1e-12)
    assert "The 2 channels were averaged to one." in task.notices


def test_channels_that_cancel_are_named(tmp_path):
    wavfile.write(tmp_path / "a.wav", 8000, np.stack([wave(64), -wave(64)], axis=1))
    with pytest.raises(ValueError, match=r"2 channels of a\.wav cancel in their average.*in antiphase; save one"):
        signal.from_file(tmp_path / "a.wav")


def test_wav_cut_short(tmp_path):
    path = tmp_path / "a.wav"
    wavfile.write(path, 8000, wave(64))
    path.write_bytes(path.read_bytes()[:-160])
    task = signal.from_file(path)
    assert task.shape == (44,)
    assert any("Reached EOF prematurely" in notice for notice in task.notices)


def test_wav_with_a_tag(tmp_path):
    path = tmp_path / "a.wav"
    wavfile.write(path, 8000, wave(64))
    tagged = path.read_bytes() + b"note" + struct.pack("<I", 4) + b"abcd"
    path.write_bytes(tagged[:4] + struct.pack("<I", len(tagged) - 8) + tagged[8:])
    task = signal.from_file(path)
    assert task.shape == (64,)
    assert len(task.notices) == 2


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\x00\x00\x00\x00WAVE", b"no sound at all"])
def test_wav_damaged(tmp_path, content):
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.wav is not a \.wav recording that can be read"):
        signal.from_file(path)


def test_wav_silent(tmp_path):
    wavfile.write(tmp_path / "a.wav", 8000, np.zeros(64, np.int16))
    with pytest.raises(ValueError, match="is constant"):
        signal.from_file(tmp_path / "a.wav")
