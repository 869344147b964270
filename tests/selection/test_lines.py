from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkspec as ns
from ntkspec.selection import FAMILIES
from ntkspec.selection._lines import jax_lines, ntkspec_lines, torch_lines
from ntkspec.selection._search import Candidate

X = np.random.default_rng(0).random((6, 1))
Y = np.sin(2 * np.pi * X)


def candidate(family="gaussian", **options):
    network = ns.kernel.MLP(**({"depth": 2, "b_std": 0.1} | options))
    return Candidate(FAMILIES[family], {"bacon": 64.0}.get(family, 1.5), network, 8, seed=3)


def run(lines):
    # Every line runs; lines to paste name the data x and y.
    scope = {"x": X, "y": Y}
    exec(lines, scope)
    return scope


@pytest.mark.parametrize("family", ["gaussian", "power_law", "none"])
def test_ntkspec_lines_build_the_kernel(family):
    chosen = candidate(family)
    scope = run(ntkspec_lines(chosen, 1, 16, 1e-3, 2))
    np.testing.assert_allclose(scope["k"].ntk(X), chosen.kernel(1).ntk(X), rtol=1e-4)
    assert scope["r"].step.values.tolist() == [0, 2]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_the_mapping_of_its_call(name):
    options = {"range": (-1.0, 3.0)} if "range" in FAMILIES[name].takes else {}
    for turn in ("radians", "two_pi") if "turn" in FAMILIES[name].takes else ("pi",):
        kind = replace(FAMILIES[name], options=options | {"turn": turn})
        (value,) = {float(one) for one in kind.default(8.0)[-1:]}
        built, pasted = kind.build(1, 12, value, 5), eval(kind.call(1, 12, value, 5), {"ns": ns})
        np.testing.assert_array_equal(built(X), pasted(X))


@pytest.mark.parametrize(
    ("family", "options"),
    [("gaussian", {}), ("gaussian", {"parametrization": "standard", "width": 512}), ("power_law", {}), ("siren", {})],
)
def test_jax_lines_are_the_network_of_the_kernel(family, options):
    chosen = candidate(family, activation="erf", **options)
    scope = run(jax_lines(chosen, 1, 512, 1e-9, 1))
    network, first = scope["network"], scope["first"]
    jacobian = jax.jacobian(lambda params: network(params, X)[:, 0])(first)
    rows = np.concatenate([np.asarray(leaf).reshape(len(X), -1) for leaf in jax.tree.leaves(jacobian)], axis=1)
    exact = np.asarray(chosen.kernel(1).ntk(X))
    # At width 512 a kernel is off by a few parts in √512.
    assert np.linalg.norm(rows @ rows.T - exact) < 0.25 * np.linalg.norm(exact)
    assert jnp.isfinite(scope["loss"](scope["params"], X, Y))


@pytest.mark.parametrize("family", [name for name in FAMILIES if FAMILIES[name].draw])
def test_torch_lines_are_python_with_the_same_numbers(family):
    lines = torch_lines(candidate(family), 1, 64, 1e-3, 5)
    compile(lines, "lines", "exec")
    frequencies = "\n".join(
        line
        for line in lines.splitlines()
        if line.startswith(("per_axis =", "top =", "B", "a =", "a /=")) and "torch" not in line
    )
    scope = {"np": np}
    exec(frequencies, scope)
    mapped = candidate(family).kernel(1).mapping
    np.testing.assert_allclose(scope["B"], mapped.frequencies, rtol=1e-5)
    np.testing.assert_allclose(scope["a"], mapped.amplitudes, rtol=1e-5)


def test_an_activation_without_a_name_elsewhere_has_no_lines():
    chosen = candidate(activation=ns.kernel.activation.LeakyRelu(0.3))
    assert jax_lines(chosen, 1, 8, 1e-3, 1) is None
    assert torch_lines(chosen, 1, 8, 1e-3, 1) is None


def test_lines_are_of_the_whole_network():
    for options in ({"trained": "last"}, {"residual": True}, {"skip": 1}, {"W_std": (1.0, 1.5, 1.2)}):
        chosen = candidate(activation="relu", **options)
        scope = run(ntkspec_lines(chosen, 1, 16, 1e-3, 2))
        np.testing.assert_allclose(scope["k"].ntk(X), chosen.kernel(1).ntk(X), rtol=1e-4)
        # Plain layers would be another network.
        assert jax_lines(chosen, 1, 16, 1e-3, 2) is None
        assert torch_lines(chosen, 1, 16, 1e-3, 2) is None


def test_positional_frequencies_that_no_axis_divides():
    chosen = Candidate(FAMILIES["positional"], 2.0, ns.kernel.MLP(depth=1), 17, seed=0)
    scope = {"x": np.random.default_rng(0).random((5, 2)), "y": np.zeros((5, 1))}
    exec(jax_lines(chosen, 2, 8, 1e-3, 1), scope)
    assert scope["params"][0][0].shape == (32, 8)
    assert "sizes = [32, 8," in torch_lines(chosen, 2, 8, 1e-3, 1)
