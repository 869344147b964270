"""Controls: the same run differing in one respect, and the part of its distance to theory that goes with it."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from ntkspec import empirical
from ntkspec.kernel import ComposedKernel
from ntkspec.operator import Operator, largest_eigenvalue
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes
from ntkspec.trainer import Optimizer, optimizer, train
from ntkspec.validation.causes import CAUSES, Case, Control
from ntkspec.validation.errors import common_steps, inner_dims, require_same_start, signal_norm
from ntkspec.validation.explanation import gap_in_words, named
from ntkspec.validation.seeds import jackknife, products, split
from ntkspec.validation.width import at_width

__all__ = ["explain"]

#: How many times as wide the networks are that the spread is compared with.
WIDER = 2


def explain(
    k: ComposedKernel,
    p: xr.Dataset,
    r: xr.Dataset,
    *,
    K: Operator | None = None,
    causes: Sequence[str] | None = None,
    options: dict[str, Any] | None = None,
    budget: float = 16.0,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Say what a gap between prediction and training is due to, by controls.

    A control is the same run, from the same seeds, differing in one respect: in smaller steps, with a linear output, in
    float64, linear in its parameters (a kernel that stands still), or compared with the prediction of another dynamics.
    With E = ⟨‖f − f_theory‖²⟩/‖y‖² over seeds, the part that it explains is E − E_control. Both split into what all
    seeds share and their spread, E = ‖⟨f⟩ − f_theory‖²/‖y‖² + Var, without bias, however few seeds there are. Spread is
    the part of finite-width fluctuation, which needs no control but its law: with twice the width it should halve.

    Parts are not exclusive. A moving kernel scatters networks as well, and what two controls remove each for itself is
    counted twice, so that `unexplained`, E less all parts, may be negative: they overlap by that much.

    Args:
        k: mapping and network that were trained.
        p: from `ntkspec.predict`.
        r: from `ntkspec.trainer.train`, with centered=True.
        K: the operator of the prediction; None makes a dense one if a control needs another prediction.
        causes: names of those to look at, such as ("moving_kernel", "fluctuation"); None looks at all that can matter.
        options: what the run was given that its attributes cannot hold: an `optimizer` from optax itself, a `schedule`,
            a `point_loss`.
        budget: of the controls together, in units of the run's own cost; what would exceed it is left out, and named.
        progress: reporter.

    Returns:
        Dataset over `cause` and `step` (those after 0), all squares relative to ‖y‖²:

        - `error_squared`, `common_squared`, `spread_squared` (step): E and its parts;
        - `explained` (cause, step) with its standard error `explained_error` (leaving out one seed at a time), and
          of it `explained_common`, `explained_common_error` and `explained_spread`;
        - `unexplained`, `unexplained_error`, `unexplained_common`, `unexplained_common_error` (step);
        - `share` and `share_error` (cause, step): of E; `unexplained_share` (step); `words` (cause);
        - `spread_exponent`, `spread_exponent_error` (step), where fluctuation is looked at: by which power of the width
          the spread falls from this width to twice it, 1/2 in theory;
        - `limit_share` (seed), where the learning rate is: η over the limit of each network at its start;

        and attributes: `verdict`, sentences; `cause`, the name of the largest part, and `cause_of_mean`, of what all
        seeds share; `left_out`, why others were not looked at (JSON); `catapults`, networks whose recorded loss rose
        above its start.

    Raises:
        ValueError: if the three do not belong together, a cause is unknown, networks start from functions of their own,
            or an option is needed that the run's attributes cannot hold.

    Source: Lee et al. 2019, section 2 (linearised networks); Lewkowycz et al. 2020, "The large learning rate phase of
    deep learning: the catapult mechanism"; Efron & Stein 1981 (standard errors).

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.basic(dim=1), ns.kernel.MLP(depth=1, width=16))
        >>> K = ns.operator.lattice(k, shape=(8,))
        >>> run = dict(steps=[0, 20], learning_rate=ns.dynamics.max_learning_rate(K) / 4)
        >>> y = np.sin(2 * np.pi * K.points[:, 0])
        >>> p, r = ns.predict(K, y, **run), ns.trainer.train(k, K.points, y, seeds=3, **run)
        >>> found = ns.validation.explain(k, p, r, causes=["fluctuation", "moving_kernel"], budget=3)
        >>> found.cause.values.tolist(), list(json.loads(found.attrs["left_out"]))
        (['fluctuation', 'moving_kernel'], ['width'])
    """
    case = _case(k, p, r, K, options or {})
    asked = _asked(causes)
    left_out = {name: why for name in asked if (why := CAUSES[name].dismissed(case))}
    chosen, cost = [], 0.0
    for name in (name for name in asked if name not in left_out):
        price = CAUSES[name].cost(case)
        if cost + price > budget:
            left_out[name] = f"it would cost {price:g} times the run, with {budget - cost:g} left; raise `budget`"
        else:
            chosen.append(name)
            cost += price
    wider, why = _wider(case, chosen, budget - cost)
    if why:
        left_out["width"] = why
    with progress.start("controls", len(chosen) + (wider is not None), "runs") as stage:
        grams: dict[str, np.ndarray | None] = {}
        for name in chosen:
            grams[name] = _gram_of(case, name, left_out, progress)
            stage.advance()
        extra = {} if wider is None else _spread_law(case, wider, progress)
        stage.advance(int(wider is not None))
    if "learning_rate" in chosen:
        extra["limit_share"] = _limit_shares(case, progress)
    grams = {name: gram for name, gram in grams.items() if name not in left_out}
    found = _parts(case, grams).assign(extra)
    found.attrs = {
        **{key: r.attrs[key] for key in ("width", "dtype", "first_seed", "learning_rate", "loss", "optimizer")},
        **attributes(kernel=k, causes=list(grams), budget=budget),
        "seeds": r.sizes["seed"],
        "left_out": json.dumps(left_out, ensure_ascii=False),
        "catapults": int((case.r.loss > r.loss.isel(step=0)).any("step").sum()),
        "cause": named(found, "explained"),
        "cause_of_mean": named(found, "explained_common"),
        "prediction_error": float(case.p.error_bound.max()),
    }
    found.attrs["verdict"] = gap_in_words(found)
    return found


def _asked(causes: Sequence[str] | None) -> list[str]:
    if causes is None:
        return list(CAUSES)
    if isinstance(causes, str) or (unknown := sorted(set(causes) - set(CAUSES))):
        got = repr(causes) if isinstance(causes, str) else ", ".join(unknown)
        raise ValueError(f"causes: got {got}; expected a list of {', '.join(CAUSES)}")
    return [name for name in CAUSES if name in causes]


def _case(k: ComposedKernel, p: xr.Dataset, r: xr.Dataset, K: Operator | None, options: dict[str, Any]) -> Case:
    """The run as its attributes tell it, at the steps after 0 that both know."""
    steps = common_steps(p, r)
    require_same_start(p, r)
    signal_norm(p)
    if K is not None and (K.points.shape != p.x.shape or not np.allclose(K.points, p.x, atol=1e-12)):
        raise ValueError(f"K is on other points than the prediction, {K.points.shape} and {p.x.shape}; give the same K")
    if "seed" not in r.dims or not np.array_equal(r.seed, np.arange(r.sizes["seed"])):
        raise ValueError("the training holds a part of its seeds; give the whole, for controls start from the same")
    if json.loads(attributes(kernel=k)["configuration"])["kernel"] != json.loads(r.attrs["configuration"])["kernel"]:
        raise ValueError("the networks were not trained from this kernel; give the `k` that `train` was given")
    if r.attrs["output"] == "linear" and not r.attrs["starts_from_zero"]:
        raise ValueError("controls are of networks that start from zero; train with centered=True")
    if not r.attrs["starts_from_zero"] and 0 not in steps:
        raise ValueError("the common function that these networks start from is not known; record step 0 in both")
    settings = {**_settings(r, options), **options}
    return Case(k, p.sel(step=steps), r.sel(step=steps), settings, K)


def _settings(r: xr.Dataset, options: dict[str, Any]) -> dict[str, Any]:
    """The options of `train` as the attributes of its result tell them."""
    a, points = r.attrs, r.sizes["point"]
    name = str(json.loads(a["point_loss"])).rpartition(".")[2]
    for option, lost in (
        ("optimizer", a["optimizer"].startswith("optax.")),
        ("schedule", bool(a["schedule"])),
        ("point_loss", name not in ("squared", "logistic")),
    ):
        if lost and option not in options:
            raise ValueError(
                f"the run had a {option} that its attributes cannot hold; give options={{'{option}': ...}}"
            )
    return {
        "learning_rate": None if np.isnan(a["learning_rate"]) else float(a["learning_rate"]),
        "loss": "logistic" if name == "logistic" else a["loss"],
        "optimizer": None if a["optimizer"].startswith("optax.") else _optimizer(a["optimizer"]),
        "batch_size": None if a["batch_size"] == points else int(a["batch_size"]),
        "output": a["output"],
        "init": a["init"],
        "trainable": tuple(filter(None, a["trainable"].split(","))),
        "seeds": r.sizes["seed"],
        "seed": int(a["first_seed"]),
        "dtype": a["dtype"],
        "matmul_precision": "bfloat16" if a["matmul_precision"] == "bfloat16" else "float32",
    }


def _optimizer(text: str) -> Optimizer:
    """From how it calls itself: 'adam', 'heavy_ball(momentum=0.5)'."""
    name, _, rest = text.partition("(")
    if not rest:
        return optimizer(name)
    call = ast.parse(f"f({rest}", mode="eval").body
    assert isinstance(call, ast.Call)
    return optimizer(name, **{str(word.arg): ast.literal_eval(word.value) for word in call.keywords})


def _distances(case: Case, trained: np.ndarray, theory: np.ndarray) -> np.ndarray:
    """Products of distances of networks (seed, step, …) to a theory (step, …), (step, seed, seed)."""
    dims = ("seed", *case.p.train.dims)
    return products(xr.DataArray(trained - theory, dims=dims), inner_dims(case.p), signal_norm(case.p))


def _gram_of(case: Case, name: str, left_out: dict[str, str], progress: Progress) -> np.ndarray | None:
    """Products of the control's distances; None where the seeds themselves tell."""
    make = CAUSES[name].control
    if make is None:
        return None
    control = make(case, progress)
    try:
        trained = _trained(case, control, progress) if control.trains else case.r.train.values
    except FloatingPointError as error:
        left_out[name] = f"its control diverged: {error}"
        return None
    return _distances(case, trained, case.theory if control.theory is None else control.theory)


def _trained(case: Case, control: Control, progress: Progress) -> np.ndarray:
    """The control's networks at the run's steps, (seed, step, …)."""
    found = train(
        case.k if control.kernel is None else control.kernel,
        case.p.x.values,
        case.p.target.values,
        steps=(case.steps * control.stretch).tolist(),
        progress=progress,
        **{**case.settings, **control.options},
    )
    return np.asarray(found.train.values)


def _parts(case: Case, grams: dict[str, np.ndarray | None]) -> xr.Dataset:
    """E, what goes with each control and what is left, with errors over seeds."""
    own, seeds = _distances(case, case.r.train.values, case.theory), case.r.sizes["seed"]
    later = case.steps > 0

    def statistic(weights: np.ndarray) -> np.ndarray:
        """(single, common, spread) × (run, each cause, what is left) × step."""
        run = np.stack(split(own, weights))
        parts = []
        for gram in grams.values():
            if gram is None:
                parts.append(np.stack([run[2], np.zeros_like(run[1]), run[2]]))
            else:
                parts.append(run - np.stack(split(gram, weights)))
        return np.stack([run, *parts, run - sum(parts)], axis=1)[..., later]

    value, error = jackknife(statistic, seeds)
    coords = {
        "cause": list(grams),
        "step": ("step", case.steps[later], {"long_name": "training step", "units": "steps"}),
        "words": ("cause", [CAUSES[name].words for name in grams]),
    }
    of_causes: dict[str, np.ndarray] = {
        "explained": value[0, 1:-1],
        "explained_error": error[0, 1:-1],
        "explained_common": value[1, 1:-1],
        "explained_common_error": error[1, 1:-1],
        "explained_spread": value[2, 1:-1],
        "share": value[0, 1:-1] / value[0, 0],
        "share_error": error[0, 1:-1] / value[0, 0],
    }
    of_steps: dict[str, np.ndarray] = {
        "error_squared": value[0, 0],
        "common_squared": value[1, 0],
        "spread_squared": value[2, 0],
        "unexplained": value[0, -1],
        "unexplained_error": error[0, -1],
        "unexplained_common": value[1, -1],
        "unexplained_common_error": error[1, -1],
        "unexplained_share": value[0, -1] / value[0, 0],
        "unexplained_share_error": error[0, -1] / value[0, 0],
    }

    def labelled(dims: tuple[str, ...], values: dict[str, np.ndarray]) -> dict[str, tuple]:
        return {n: (dims, v, {"long_name": n.replace("_", " "), "units": ""}) for n, v in values.items()}

    return xr.Dataset(labelled(("cause", "step"), of_causes) | labelled(("step",), of_steps), coords=coords)


def _wider(case: Case, chosen: list[str], budget: float) -> tuple[ComposedKernel | None, str]:
    """The kernel of networks of twice the width, or why there is none to compare with."""
    if "fluctuation" not in chosen:
        return None, ""
    if budget < WIDER**2:
        return None, f"networks of {WIDER} times the width would cost {WIDER**2} times the run, with {budget:g} left"
    try:
        return at_width(case.k, WIDER * int(case.r.attrs["width"])), ""
    except ValueError as error:
        return None, str(error)


def _spread_law(case: Case, wider: ComposedKernel, progress: Progress) -> dict[str, Any]:
    """By which power of the width the spread falls, from the run's networks to wider ones."""
    own = _distances(case, case.r.train.values, case.theory)
    other = _distances(case, _trained(case, Control(kernel=wider), progress), case.theory)
    later, seeds = case.steps > 0, case.r.sizes["seed"]

    def log_spread(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ln spread and its standard error; wider networks share no weights with the others, and have their own."""
        return jackknife(lambda weights: np.log(split(gram, weights).spread[later]) / 2, seeds)

    (narrow, of_narrow), (wide, of_wide) = log_spread(own), log_spread(other)
    label = {"long_name": "power of the width by which the spread falls", "units": ""}
    return {
        "spread_exponent": ("step", (narrow - wide) / np.log(WIDER), label),
        "spread_exponent_error": (
            "step",
            np.hypot(of_narrow, of_wide) / np.log(WIDER),
            {**label, "long_name": "standard error of that"},
        ),
    }


def _limit_shares(case: Case, progress: Progress) -> tuple[str, np.ndarray, dict[str, str]]:
    """η over the limit of each network at its start, from the largest eigenvalue of its own kernel."""
    x = case.p.x.values

    def largest(step: int, params: Any) -> xr.Dataset:
        import jax

        ones = [jax.tree.map(lambda leaf, s=s: leaf[s], params) for s in range(case.r.sizes["seed"])]
        found = [largest_eigenvalue(empirical.operator(case.k, one, x), tolerance=1e-4) for one in ones]
        return xr.Dataset({"largest": ("seed", found)})

    start = train(case.k, x, case.p.target.values, steps=[0], observe=largest, progress=progress, **case.settings)
    share = case.limit_share / float(case.p.attrs["largest_eigenvalue"]) * start.largest.isel(step=0).values
    return "seed", share, {"long_name": "learning rate over the network's stability limit", "units": ""}
