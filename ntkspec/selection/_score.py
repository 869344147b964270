"""One kernel judged on boxes of the training samples: leave-one-out, the error at unseen points, and evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ntkspec.generalisation import Decomposition, decompose, scaled_evidence
from ntkspec.kernel import ComposedKernel
from ntkspec.selection._samples import Box

__all__ = ["TIMES", "Score", "patches", "score"]

#: Times ηλ_max t after which training is stopped, evenly spaced in the logarithm.
TIMES = np.geomspace(10, 1e6, 16)


@dataclass(frozen=True)
class Score:
    """Scores of a kernel on the training samples, for each time of `TIMES`, each of shape (t,).

    Attributes:
        leave_one_out: mean squared error of the inner points of the boxes, each predicted from all others.
        expected: the same for points between them: times the ratio of the posterior variances there.
        expected_error: standard error of `expected` over patches of points.
        generalised: generalised cross-validation on the boxes.
        evidence: log evidence of the NNGP with its scale left open, in nats a sample.
        flow_time: time τ = ηt of gradient flow on half the summed squares.
    """

    leave_one_out: np.ndarray
    expected: np.ndarray
    expected_error: np.ndarray
    generalised: np.ndarray
    evidence: np.ndarray
    flow_time: np.ndarray


def score(k: ComposedKernel, box: Box) -> Score:
    """Judge a kernel.

    Training stopped at a time τ is taken for ridge regression with δ = 1/τ: both leave a mode of eigenvalue λ unlearned
    where λτ ≪ 1 (see `ntkspec.dynamics.equivalent_ridge`). The leave-one-out residual [A⁻¹y]_i/[A⁻¹]_ii, A = K + δI, is
    then exact. A point between its neighbours is nearer to them than they are to each other; if the function were a
    draw from the kernel's Gaussian process, the ratio of the expected squares at both would be that of the posterior
    variances, (k(0) − k_*ᵀA⁻¹k_* + δ) : 1/[A⁻¹]_ii, by which the residuals are scaled.
    """
    K = decompose(box.operator(k, "ntk"))
    labels = box.labels.reshape(len(box.points), -1)
    ridge = float(K.eigenvalue.max()) / TIMES
    inverse = 1 / (K.eigenvalue[:, None] + ridge)
    residual = K.apply(inverse, labels)
    # One for all points where the box closes upon itself.
    diagonal = np.broadcast_to(K.diagonal(inverse), residual.shape[:2])
    left_out = (residual / diagonal[..., None])[:, box.inner] ** 2
    mean = left_out.mean(axis=(1, 2))
    ratio = _posterior_variance(k, K, inverse, ridge, box) / np.mean(1 / diagonal[:, box.inner], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        generalised = np.mean(residual**2, axis=(1, 2)) / np.mean(diagonal, axis=1) ** 2
    return Score(
        leave_one_out=mean,
        expected=mean * ratio,
        expected_error=_standard_error(left_out, box) * ratio,
        generalised=generalised,
        evidence=_evidence(k, labels, box),
        flow_time=1 / ridge,
    )


def _posterior_variance(
    k: ComposedKernel, K: Decomposition, inverse: np.ndarray, ridge: np.ndarray, box: Box
) -> np.ndarray:
    """Return the mean over unseen points of k(0) − k_*ᵀA⁻¹k_* + δ, shape (t,)."""
    cross = np.asarray(k.ntk(box.points, box.unseen))
    known = np.stack([np.mean(np.sum(cross * weights, axis=0)) for weights in K.apply(inverse, cross)])
    prior = np.mean(np.diag(np.asarray(k.ntk(box.unseen))))
    return np.maximum(prior - known, 0) + ridge


def patches(box: Box) -> np.ndarray:
    """Return the patch of neighbouring points that each inner point of a box is in, as numbers; about sixteen."""
    inner = box.points[box.inner]
    dim = inner.shape[1]
    low, extent = inner.min(axis=0), np.maximum(np.ptp(inner, axis=0), 1e-300)
    per_axis = max(2, int(16 ** (1 / dim)))
    cell = np.minimum((inner - low) / extent * per_axis, per_axis - 1).astype(int)
    return np.ravel_multi_index(tuple(cell.T), (per_axis,) * dim)


def _standard_error(square: np.ndarray, box: Box) -> np.ndarray:
    """Return the standard error of the mean of (t, point, box·channel) over patches, as errors nearby are alike."""
    patch, boxes = patches(box), box.labels.shape[1]
    by_box = square.reshape(*square.shape[:2], boxes, -1).mean(axis=3)
    means = np.stack([by_box[:, patch == p].mean(axis=1) for p in np.unique(patch)], axis=1)
    means = means.reshape(len(square), -1)
    return means.std(axis=1, ddof=1) / np.sqrt(means.shape[1])


def _evidence(k: ComposedKernel, labels: np.ndarray, box: Box) -> np.ndarray:
    K = decompose(box.operator(k, "nngp"))
    centred = labels - labels.mean(axis=0)
    noise = float(K.eigenvalue.max()) / TIMES
    return np.array([float(scaled_evidence(K, centred, noise=variance).evidence) for variance in noise]) / labels.size
