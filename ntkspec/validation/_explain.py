"""Controls: the same run differing in one respect, and the share of its distance to theory that this removes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from ntkspec import empirical
from ntkspec.checks import check_progress, shown
from ntkspec.kernel import ComposedKernel
from ntkspec.operator import Operator, largest_eigenvalue
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes, step_coordinate, variable
from ntkspec.trainer import Keep, Plan, run
from ntkspec.trainer._memory import TooLarge
from ntkspec.validation import _prose as prose
from ntkspec.validation._causes import CAUSES
from ntkspec.validation._errors import inner_dims, signal_norm
from ntkspec.validation._facts import LeftOut, Why, as_json
from ntkspec.validation._run import Case, case_of
from ntkspec.validation._shares import named
from ntkspec.validation._statistics import jackknife, products, split
from ntkspec.validation._width_law import at_width

#: Factor of the width in the law of the spread.
WIDER = 2
#: Causes that make the stability limit of a run lower than that of theory.
LOWER_THE_LIMIT = {"batches", "learned_mapping"}


def explain(
    k: ComposedKernel | Plan,
    p: xr.Dataset,
    r: xr.Dataset,
    *,
    K: Operator | None = None,
    causes: Sequence[str] | None = None,
    options: dict[str, Any] | None = None,
    budget: float = 24.0,
    checkpoint: Keep | str | Path | None = None,
    resume: bool | str = False,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Find what a gap between prediction and training is due to, by controls.

    A control is the same run, from the same seeds, differing in one respect: in smaller steps, with a linear output, in
    float64, linear in its parameters (a fixed kernel), or compared with the prediction of another dynamics. Causes are
    removed one after the other, in the order of the result's `cause`. With E = ⟨‖f − f_theory‖²⟩/‖y‖² over seeds, the
    part of a cause is E before it is removed, less E after.

    The width comes last. Without bias, however few the seeds, E splits into what all networks share and their spread,
    E = ‖⟨f⟩ − f_theory‖²/‖y‖² + Var. Spread that linearised networks have too is the part of finite-width fluctuation
    (all of it, where none are trained). The rest of the spread, and what networks share and linearised ones do not, is
    the part of the moving kernel. What linearised networks share is `unexplained`, so all parts add up to E.

    Networks that start from functions of their own (centered=False) are each compared with the theory that starts from
    their f_0 at step 0 and uses nothing after it, f_0 + (1 − r(K, t))(y − f_0).

    Interacting causes are attributed in that order. A negative share means the cause brought networks closer to theory.

    Args:
        k: mapping and network that were trained, or the plan of the run.
        p: prediction from `ntkspec.predict`; without `initial` where networks start from functions of their own.
        r: training from `ntkspec.trainer.train`.
        K: operator of the prediction; None makes a dense one if a control needs another prediction.
        causes: names of causes, such as ("moving_kernel", "fluctuation"); None takes all that can matter.
        options: objects of the run and the prediction that attributes cannot hold: an `optimizer`, a `schedule`, a
            `point_loss`, or the `dynamics` of the prediction.
        budget: cost of all controls together, in units of the run's own; what would exceed it is left out, and named.
        checkpoint: folder, or `ntkspec.trainer.Keep`, in which each control keeps its own.
        resume: as in `ntkspec.trainer.train`: controls that had ended are not trained again.
        progress: reporter.

    Returns:
        Dataset over `cause` and `step` (those after 0), all squares relative to ‖y‖²:

        - `error_squared`, `common_squared`, `spread_squared` (step): E and its parts;
        - `explained` (cause, step) with its standard error `explained_error` (leaving out one seed at a time), and
          of it `explained_common`, `explained_common_error` and `explained_spread`;
        - `unexplained`, `unexplained_error`, `unexplained_common`, `unexplained_common_error` (step);
        - `share`, `share_error` (cause, step): parts of E; `unexplained_share` and its error (step); `words` (cause);
        - `spread_exponent`, `spread_exponent_error` (step), with fluctuation: power of the width by which the spread
          falls from this width to twice it, 1/2 in theory (of a run in which no cause before can matter);
        - `linearised_spread_squared` (step), with the moving kernel: spread of linearised networks;
        - `limit_share` (seed), with the learning rate: η over the limit of each network at its start; NaN for all
          but the first where batches or a learned mapping lower it;

        and attributes: `verdict`, sentences; `cause`, the largest part where networks are farthest from theory, and
        `cause_of_mean`, that where what all seeds share is largest; `own_starts`, whether theory starts where each
        network does; `spread_in_theory`, whether theory has a power for the spread; `left_out`, records of causes that
        were not looked at, with `cause`, `why` and `detail` (JSON); `catapults`, networks whose recorded loss rose
        above its start; `prediction_error`.

    Raises:
        ValueError: if the three do not belong together, a cause is unknown, or an object is needed that attributes
            cannot hold.

    Source: Lee et al. 2019, section 2 (linearised networks); Lewkowycz et al. 2020, "The large learning rate phase of
    deep learning: the catapult mechanism"; Efron & Stein 1981 (standard errors).

    Example:
        >>> import json, ntkspec as ns, numpy as np
        >>> k = ns.kernel.compose(ns.mapping.basic(dim=1), ns.kernel.MLP(depth=1, width=16))
        >>> K = ns.operator.lattice(k, shape=(8,))
        >>> run = dict(steps=[0, 20], learning_rate=ns.dynamics.max_learning_rate(K) / 4)
        >>> y = np.sin(2 * np.pi * K.points[:, 0])
        >>> p, r = ns.predict(K, y, **run), ns.trainer.train(k, K.points, y, seeds=3, **run)
        >>> found = ns.validation.explain(k, p, r, causes=["fluctuation", "moving_kernel"], budget=3)
        >>> found.cause.values.tolist(), [one["why"] for one in json.loads(found.attrs["left_out"])]
        (['fluctuation', 'moving_kernel'], ['cost'])
    """
    names = _names(causes)
    check_progress(progress)
    keep = Keep.of(checkpoint, resume)
    if not isinstance(budget, Real) or isinstance(budget, bool) or not budget >= 0:
        raise ValueError(f"budget={shown(budget)}; expected a number from 0 on, in units of the run's own cost")
    case, trained = case_of(k, p, r, K, {} if options is None else options)

    theory = case.theory(trained, progress) if case.own_starts else case.p.train.values
    chain = _Chain(case, trained, theory, budget, keep.within)
    with progress.start("controls", len(names), "causes") as stage:
        for name in _in_order(names, case):
            chain.take_away(name, progress)
            stage.advance()
    extra = _spread_law(chain, int(r.attrs["width"]), progress) if "fluctuation" in chain.names else {}
    if "moving_kernel" in chain.grams:
        still = split(chain.grams["moving_kernel"], np.ones(r.sizes["seed"])).spread[case.steps > 0]
        extra["linearised_spread_squared"] = variable("step", still, "spread of linearised networks")
    if "learning_rate" in chain.names:
        label = "learning rate over the network's stability limit"
        extra["limit_share"] = variable("seed", _limit_shares(case, progress), label)
    parts = _parts(chain).assign(extra)
    parts.attrs = {
        **{key: r.attrs[key] for key in ("width", "dtype", "first_seed", "learning_rate", "loss", "training")},
        **attributes(kernel=case.k, causes=chain.names, budget=budget),
        "seeds": r.sizes["seed"],
        "own_starts": int(case.own_starts),
        "left_out": as_json(chain.left_out),
        "catapults": _catapults(r),
        "spread_in_theory": int(_is_of_theory(chain)),
        "cause": named(parts, "explained"),
        "cause_of_mean": named(parts, "explained_common"),
        "prediction_error": float(case.p.error_bound.max()),
    }
    parts.attrs["verdict"] = prose.explanation(parts)
    return parts


@dataclass
class _Chain:
    """Controls, each without one cause more than the last.

    Attributes:
        case: the run without the causes removed so far.
        trained: its networks, (seed, step, …).
        theory: its prediction, (step, …), or that of each network, (seed, step, …).
        budget: cost of the controls that may follow.
        keeping: checkpoints of a control, by name.
        first: the run itself.
        names: causes that were removed.
        grams: products of distances of the run ("") and of the control of each cause that has one, (step, seed, seed).
        left_out: causes without a control.
    """

    case: Case
    trained: np.ndarray
    theory: np.ndarray
    budget: float
    keeping: Callable[[str], Keep]
    first: Case = field(init=False)
    names: list[str] = field(default_factory=list)
    grams: dict[str, np.ndarray] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.first = self.case
        self.grams[""] = _distances(self.case, self.trained, self.theory)

    def take_away(self, name: str, progress: Progress) -> None:
        """Go on to the control of a cause, unless it cannot matter, costs too much or diverges."""
        cause = CAUSES[name]
        *_, gram = self.grams.values()
        single = split(gram, np.ones(gram.shape[-1])).single
        reason = cause.dismissed(self.case, float(np.sqrt(single[self.case.steps > 0].min())))
        if reason is not None:
            self.left_out.append(LeftOut(name, *reason))
        elif cause.control is None:
            self.names.append(name)
        else:
            self._go_on(name, cause.control(self.case), cause.cost, progress)

    def _go_on(self, name: str, control: Case, cost: float, progress: Progress) -> None:
        again = not control.trains_as(self.case)
        price = cost * control.stretch if again else 0.0
        trained = self.train(name, control, price, progress) if again else self.trained
        if trained is None:
            return
        if not control.predicts_as(self.case) or (again and control.own_starts):
            self.theory = control.theory(trained, progress)
        self.case, self.trained = control, trained
        self.names.append(name)
        self.grams[name] = _distances(control, trained, self.theory)

    def train(self, name: str, control: Case, price: float, progress: Progress) -> np.ndarray | None:
        """Return the networks of a control, which are paid for; None if it is left out."""
        if price > self.budget:
            self.left_out.append(LeftOut(name, "cost", {"price": price, "budget": self.budget}))
            return None
        try:
            trained = control.trained(self.keeping(name), progress)
        except (FloatingPointError, TooLarge) as error:
            why: Why = "too_large" if isinstance(error, TooLarge) else "diverged"
            self.left_out.append(LeftOut(name, why, {"error": str(error)}))
            return None
        self.budget -= price
        return trained


def _names(causes: Sequence[str] | None) -> list[str]:
    if causes is None:
        return list(CAUSES)
    listed = isinstance(causes, list | tuple | set)
    if not listed or (unknown := [name for name in causes if not isinstance(name, str) or name not in CAUSES]):
        got = ", ".join(map(str, unknown)) if listed else shown(causes)
        raise ValueError(f"causes: got {got}; expected a list of {', '.join(CAUSES)}")
    return [name for name in CAUSES if name in causes]


def _in_order(names: list[str], case: Case) -> list[str]:
    """Put a learning rate past the limit of this run, not of theory, before what lowers the limit."""
    lowers = [name for name in names if name in LOWER_THE_LIMIT]
    if "learning_rate" not in names or not lowers or case.own_limit_share <= 1:
        return names
    others = [name for name in names if name != "learning_rate"]
    place = others.index(lowers[0])
    return [*others[:place], "learning_rate", *others[place:]]


def _distances(case: Case, trained: np.ndarray, theory: np.ndarray) -> np.ndarray:
    """Products of distances of networks (seed, step, …) to a theory ([seed,] step, …), (step, seed, seed)."""
    dims = ("seed", *case.p.train.dims)
    return products(xr.DataArray(trained - theory, dims=dims), inner_dims(case.p), signal_norm(case.p))


def _parts(chain: _Chain) -> xr.Dataset:
    """E, the part of each cause and the rest, with errors over seeds."""
    case, names = chain.case, chain.names
    later = case.steps > 0

    def statistic(weights: np.ndarray) -> np.ndarray:
        """(single, common, spread) × (run, each cause, the rest) × step."""
        squares = {name: np.stack(split(gram, weights)) for name, gram in chain.grams.items()}
        run = before = squares[""]
        parts = []
        for name in names:
            after = squares.get(name, before)
            single, common, spread = before - after
            if name in ("fluctuation", "moving_kernel"):
                # Large labels move each kernel in its own way: spread that linearised networks do not have does not
                # come from the start.
                of_start = np.minimum(before[2], squares.get("moving_kernel", before)[2])
                common, spread = (common, before[2] - of_start) if name == "moving_kernel" else (0 * common, of_start)
                single = common + spread
            parts.append(np.stack([single, common, spread]))
            before = after
        return np.stack([run, *parts, run - sum(parts)], axis=1)[..., later]

    def shares(weights: np.ndarray) -> np.ndarray:
        """Parts of E; the fluctuation of E itself cancels."""
        single = statistic(weights)[0]
        return single[1:] / single[0]

    seeds = case.seeds
    (value, error), (share, share_error) = jackknife(statistic, seeds), jackknife(shares, seeds)
    coords = {
        "cause": names,
        "step": step_coordinate(case.steps[later]),
        "words": ("cause", [prose.CAUSES[name][0] for name in names]),
    }
    rest = {"": value[0], "_error": error[0], "_common": value[1], "_common_error": error[1], "_spread": value[2]}
    tables = {f"explained{name}": table[1:-1] for name, table in rest.items()}
    tables |= {"share": share[:-1], "share_error": share_error[:-1]}
    tables |= dict(zip(("error_squared", "common_squared", "spread_squared"), value[:, 0], strict=True))
    tables |= {f"unexplained{name}": table[-1] for name, table in rest.items() if name != "_spread"}
    tables |= {"unexplained_share": share[-1], "unexplained_share_error": share_error[-1]}
    dims: dict[int, str | tuple[str, ...]] = {1: "step", 2: ("cause", "step")}
    return xr.Dataset(
        {name: variable(dims[table.ndim], table, name.replace("_", " ")) for name, table in tables.items()},
        coords=coords,
    )


def _catapults(r: xr.Dataset) -> int:
    """Networks whose recorded loss rose above its start, as far as that is recorded."""
    return int((r.loss > r.loss.sel(step=0)).any("step").sum()) if 0 in r.step else 0


def _is_of_theory(chain: _Chain) -> bool:
    """Whether only the width can set the run itself apart: the theory of such runs has a power for the spread."""
    single = split(chain.grams[""], np.ones(chain.first.seeds)).single
    error = float(np.sqrt(single[chain.first.steps > 0].min()))
    before = itertools.takewhile(lambda name: name != "fluctuation", CAUSES)
    return all(CAUSES[name].dismissed(chain.first, error) is not None for name in before)


def _spread_law(chain: _Chain, width: int, progress: Progress) -> dict[str, Any]:
    """Return the power of the width by which the spread of the run falls, from its networks to wider ones."""
    try:
        k = at_width(chain.first.k, WIDER * width)
    except ValueError as error:
        chain.left_out.append(LeftOut("width", "fixed_width", {"error": str(error)}))
        return {}
    # From another seed: of the same one, wide networks begin with the draws of narrow ones.
    wider = chain.first.differing(kernels=(k,), seed=chain.first.plan.seed + 1)
    trained = chain.train("width", wider, float(WIDER**2), progress)
    if trained is None:
        return {}
    later, seeds = chain.first.steps > 0, chain.first.seeds

    def log_spread(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logarithm of the spread, and its error: wider networks share no weights with the others."""
        return jackknife(lambda weights: np.log(split(gram, weights).spread[later]) / 2, seeds)

    theory = wider.theory(trained, progress) if wider.own_starts else wider.p.train.values
    narrow, of_narrow = log_spread(chain.grams[""])
    wide, of_wide = log_spread(_distances(wider, trained, theory))
    exponent, off = (narrow - wide) / np.log(WIDER), np.hypot(of_narrow, of_wide) / np.log(WIDER)
    return {
        "spread_exponent": variable("step", exponent, "power of the width by which the spread falls"),
        "spread_exponent_error": variable("step", off, "standard error of that power"),
    }


def _limit_shares(case: Case, progress: Progress) -> np.ndarray:
    """η over the limit of each network at its start, from the largest eigenvalue of its own kernel."""
    if not case.theory_limits:
        return np.array([case.own_limit_share, *[np.nan] * (case.seeds - 1)])
    x = case.p.x.values

    def largest(_step: int, params: Any) -> xr.Dataset:
        seeds = range(jax.tree.leaves(params)[0].shape[0])
        kernels = (empirical.operator(case.k, jax.tree.map(lambda leaf, s=s: leaf[s], params), x) for s in seeds)
        return xr.Dataset({"largest": ("seed", [largest_eigenvalue(K, tolerance=1e-4) for K in kernels])})

    start = run(case.plan.changed(steps=[0]), observe=largest, progress=progress)
    return case.limit_share / float(case.p.attrs["largest_eigenvalue"]) * start.largest.isel(step=0).values
