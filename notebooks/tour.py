# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From a mapping to a verdict
#
# A network on coordinates learns low frequencies first. A Fourier mapping in front of it changes which ones,
# and how fast, and the theory of infinitely wide networks says by how much, without training. This tour takes a
# photograph through all of it: a mapping, a kernel, its spectrum, a predicted training run, and then a real one
# to see whether to believe it. Every cell takes seconds on a laptop.

# %%
import numpy as np

import ntkspec as ns

# %% [markdown]
# ## A signal
#
# A photograph on the lattice $i/n$ of $[0, 1)^2$. The even pixels train; the odd ones are held out.

# %%
task = ns.task.image.astronaut(48)
task.shape, len(task.train_points), len(task.test_points)

# %% [markdown]
# ## A mapping and a network
#
# $\gamma(v) = [a \cos 2\pi b\cdot v,\; a \sin 2\pi b\cdot v]$ with frequencies $b \sim N(0, \text{scale}^2)$ in cycles
# per unit (here: per picture). Behind it stands a network of three hidden layers. `compose` makes one object of both:
# the kernel of the infinitely wide network, and the finite network itself.
#
# `normalize=False` sets $a = 1$, as the paper's image experiments do. Theory does not mind either way, but networks
# of finite width do: with $\sum a^2 = 1$ their outputs start far smaller than the signal, and must move far to
# reach it.

# %%
network = ns.kernel.MLP(depth=3, activation="relu", width=512)
kernels = {
    f"scale {scale:g}": ns.kernel.compose(
        ns.mapping.gaussian(dim=2, num_frequencies=256, scale=scale, seed=0, normalize=False), network
    )
    for scale in (1.0, 4.0, 10.0)
}
ns.plot.kernel(kernels)

# %% [markdown]
# The kernel depends on the lag alone, which is what makes everything fast: on a lattice a product with it is a pair
# of FFTs. A larger scale makes it narrower.
#
# ## The spectrum
#
# An operator is the kernel on points. It is never formed: here it stands for 576 × 576 numbers, for a megapixel
# photograph for 10¹².

# %%
operators = {name: ns.operator.lattice(k, task.shape, mask=task.train_mask) for name, k in kernels.items()}
spectra = {name: ns.eigen.spectrum(K) for name, K in operators.items()}
ns.plot.spectrum(spectra)

# %%
for name, s in spectra.items():
    b = ns.eigen.bandwidth(s)
    print(
        f"{name}: {float(b.participation_ratio):.0f} modes share the trace, condition {float(b.condition_number):.2g}"
    )

# %% [markdown]
# ## How fast is each frequency learned?
#
# Gradient descent learns an eigenvector with eigenvalue $\lambda$ by a factor $1 - \eta\lambda$ a step. Half the
# stability limit is a good learning rate.

# %%
K = operators["scale 4"]
rate = ns.dynamics.max_learning_rate(K) / 2
steps = [0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000]
ns.plot.convergence(ns.eigen.convergence(K, task.train_values, steps=steps, learning_rate=rate))

# %% [markdown]
# ## The whole training run, predicted
#
# `everywhere=True` gives the learned picture on every pixel, also those that no one trained on.

# %%
p = ns.predict(K, task.train_values, steps=steps, learning_rate=rate, everywhere=True)
ns.plot.images(p, steps=[10, 100, 1000, 100_000], reference=task.values)

# %% [markdown]
# The prediction carries a bound on its own error, relative to the signal:

# %%
p.error_bound.values.max(), p.field_error_bound.values.max()

# %% [markdown]
# Which scale is best on the pixels that were held out?

# %%
curves = {}
for name, operator in operators.items():
    run = ns.predict(
        operator,
        task.train_values,
        steps=steps,
        learning_rate=ns.dynamics.max_learning_rate(operator) / 2,
        everywhere=True,
    )
    curves[f"{name}, train"] = ns.psnr(run.train, run.target)
    curves[f"{name}, test"] = ns.psnr(
        run.field.where(run.field.isel(step=0, drop=True).copy(data=task.test_mask)), task.values
    )
ns.plot.quality(curves)

# %% [markdown]
# Held-out pixels are a luxury. `ns.design` asks the training pixels alone: each kernel predicts every point from all
# others, and where that is equally good over a range of scales, it says so.

# %%
d = ns.design(task, scales=[1, 2, 4, 8, 16])
print(d.attrs["verdict"])
ns.plot.design(d)

# %% [markdown]
# ## Can it be trusted?
#
# Train real networks of width 512 from the same start (each learns the difference from its own initial function, so
# both begin at zero), and compare step by step. A signal in one dimension trains in seconds: the paper's, with
# $b = 1 \dots 16$ and $a = 1/b$. There the frequencies are whole numbers, so the prediction is exact.

# %%
signal = ns.task.signal.paper()
k = ns.kernel.compose(ns.mapping.power_law(num_frequencies=16, p=1.0), network)
K = ns.operator.lattice(k, signal.shape, mask=signal.train_mask)
options = dict(steps=[0, 1, 3, 10, 30, 100, 200], learning_rate=ns.dynamics.max_learning_rate(K) / 2)
p = ns.predict(K, signal.train_values, everywhere=True, **options)
r = ns.trainer.train(k, K.points, signal.train_values, seeds=4, field_shape=signal.shape, **options)
v = ns.validate(p, r)
print(v.attrs["verdict"])

# %%
ns.plot.validation(v)

# %%
ns.plot.validation(v, by="frequency")

# %%
ns.plot.prediction(r.isel(seed=0))

# %% [markdown]
# The distance has two parts: what differs from seed to seed (a finite width fluctuates, and the mean of several
# networks is closer), and what all seeds share (the kernel moves while they learn). Try a width of 64, or `W_std=1.0`,
# and see which of the two grows.
#
# Every result above is an `xarray.Dataset` that remembers the settings and versions it came from, and keeps:

# %%
np.round(v.error.to_series(), 4)
