import numpy as np
import pytest

import ntkspec as ns
from ntkspec.limits import limited


@pytest.fixture
def blocks():
    """Blocks small enough that there are several, the last one not full."""
    with limited(block=8):
        yield


class Counted:
    def __init__(self):
        self.total, self.done = 0, 0

    def start(self, description, total=None, unit="it"):
        self.total += total if "asked" in description else 0
        return self

    def advance(self, n=1, **fields):
        self.done += n

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def raw():
    return ns.kernel.compose(ns.mapping.identity(2), ns.kernel.MLP(depth=1, b_std=0.1))


@pytest.mark.parametrize("which", ["ntk", "nngp"])
@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.usefixtures("blocks")
def test_blocks_are_the_gram_and_no_more(mapped, which, kernels, rng, monkeypatch):
    k = kernels["2d"] if mapped else raw()
    x, asked, w = rng.random((19, 2)), rng.random((11, 2)), rng.standard_normal((19, 3))
    asked[0] = x[5]
    K, watch = ns.operator.dense(k, x, which), Counted()
    shapes = []
    monkeypatch.setattr(type(k), "gram", _spied(type(k).gram, shapes))
    found = K.at(asked, w, progress=watch)
    assert max(a * b for a, b in shapes) <= 8 * 8
    assert watch.total == watch.done == 6
    exact = np.asarray(k.gram(asked, x, which)) @ w
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-13 * np.abs(exact).max() * 19)
    np.testing.assert_allclose(K.at(asked, w[:, 0]), found[:, 0], rtol=0, atol=1e-13 * np.abs(exact).max())
    norm = np.linalg.norm(k.gram(asked, None, which), 2)
    assert norm <= K.norm_at(asked) <= 11 * norm
    assert K.norm_at(asked) == pytest.approx(np.trace(k.gram(asked, None, which)), rel=1e-12)


def _spied(gram, shapes):
    def spied(self, x, z=None, *args, **kwargs):
        shapes.append((len(x), len(x if z is None else z)))
        return gram(self, x, z, *args, **kwargs)

    return spied


def test_an_empirical_kernel_tells_of_other_points(key, rng):
    k = ns.kernel.compose(ns.mapping.gaussian(1, 4, scale=1.0), ns.kernel.MLP(depth=1, width=8))
    params = k.init(key)
    x, asked, w = rng.random((6, 1)), rng.random((4, 1)), rng.standard_normal((6, 2))
    K = ns.empirical.operator(k, params, x)
    whole = np.asarray(ns.empirical.ntk(k, params, np.concatenate([x, asked])))
    np.testing.assert_allclose(K.at(asked, w), whole[6:, :6] @ w, rtol=0, atol=1e-12)
    assert K.norm_at(asked) == pytest.approx(np.trace(whole[6:, 6:]), rel=1e-12)


def test_bad_weights_are_refused(kernels):
    K = ns.operator.scattered(kernels["1d"], [[0.1], [0.6]])
    with pytest.raises(ValueError, match=r"weights have shape \(3,\); expected \(2,\) or \(2, channels\)"):
        K.at([[0.3]], np.ones(3))
