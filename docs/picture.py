"""Make the picture of the README: `python docs/picture.py`."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

import ntkspec as ns
from ntkspec.progress import TerminalProgress

STEPS = [0, 1, 3, 10, 30, 100, 200, 400]


def main() -> None:
    """Predict a photograph; train the paper's signal and compare; draw both."""
    progress = TerminalProgress()
    figure = plt.figure(figsize=(10, 5.6), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.35))
    task = ns.task.image.astronaut(128)
    network = ns.kernel.MLP(depth=3, width=512)
    k = ns.kernel.compose(ns.mapping.gaussian(2, 256, scale=4.0, normalize=False), network)
    K = ns.operator.lattice(k, task.shape, mask=task.train_mask)
    rate = ns.dynamics.max_learning_rate(K) / 2
    steps = [10, 100, 1000, 10_000]
    p = ns.predict(K, task.train_values, steps=steps, learning_rate=rate, everywhere=True, progress=progress)
    ns.plot.images(p, reference=task.values, axes=top.subplots(1, 5))
    signal = ns.task.signal.paper()
    k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), network)
    K = ns.operator.lattice(k, signal.shape, mask=signal.train_mask)
    options = {"steps": STEPS, "learning_rate": ns.dynamics.max_learning_rate(K) / 2}
    p = ns.predict(K, signal.train_values, **options)
    r = ns.trainer.train(k, K.points, signal.train_values, seeds=4, progress=progress, **options)
    v = ns.validate(p, r)
    left, right = bottom.subplots(1, 2)
    ns.plot.validation(v.drop_attrs().assign_attrs(tolerance=v.attrs["tolerance"]), ax=left)
    ns.plot.validation(v, by="frequency", ax=right)
    figure.savefig(Path(__file__).with_name("picture.png"), dpi=110, facecolor="white")


if __name__ == "__main__":
    main()
