"""Kernels by neural-tangents, the independent implementation of the layer recursion."""

import numpy as np

import ntkspec as ns


def kernels(x, z, *, depth, W_std, b_std, parametrization, width):
    """Its NNGP and NTK of a ReLU network between raw inputs, as (n, k) arrays."""
    stax = ns.kernel.stax.load().stax
    dense = {"W_std": W_std, "b_std": b_std, "parameterization": parametrization}
    hidden = [layer for _ in range(depth) for layer in (stax.Dense(width, **dense), stax.Relu())]
    _, _, kernel_fn = stax.serial(*hidden, stax.Dense(1, **dense))
    both = kernel_fn(x, z, ("nngp", "ntk"))
    return np.asarray(both.nngp), np.asarray(both.ntk)


def trajectory(K, y, rate, times):
    """Its gradient flow of the mean loss, f(t) from zero, at times in units of the summed loss."""
    nt = ns.kernel.stax.load()
    predict = nt.predict.gradient_descent_mse(K, y[:, None], learning_rate=rate)
    return np.stack([np.asarray(predict(float(t) * len(y), np.zeros((len(y), 1)))[:, 0]) for t in times])
