"""The sentences of a design: what to take and to expect, how sure the choice is, and which width follows."""

from __future__ import annotations

from ntkspec.kernel import MLP
from ntkspec.kernel.activation import name_of
from ntkspec.operator._norm import is_diagonal
from ntkspec.selection._plan import MOMENTUM, Plan
from ntkspec.selection._search import CRITERIA, Choice

__all__ = ["DIAGONAL", "activation", "verdict"]

#: What a kernel that is diagonal to rounding comes to.
DIAGONAL = (
    "The kernel is diagonal to rounding, so no point tells it anything of another: take a smaller W_std (siren's own "
    "is sqrt(2)/omega_0, 0.047 for its 30), or a mapping of lower frequencies."
)
#: dB above the mean of the labels from which on something has been predicted.
WORTH = 1.0


def verdict(choice: Choice, plan: Plan) -> str:
    """Return what to take and to expect, what speaks against it, and how sure the choice and the width are."""
    return " ".join(filter(None, (_advice(plan), _doubts(plan), _flatness(choice, plan), _width(plan))))


def activation(network: MLP) -> str:
    """Return the name of a network's activation."""
    return name_of(network.activation) or type(network.activation).__name__  # type: ignore[arg-type]


def _advice(plan: Plan) -> str:
    family = plan.candidate.family
    number = f"{family.name} frequencies of {family.parameter} {plan.candidate.value:.3g} {family.units}".rstrip()
    low, expected, high = (float(curve[plan.best]) for curve in (plan.low, plan.psnr, plan.high))
    sooner = plan.steps_with_momentum
    faster = f", or {sooner:,} with momentum {MOMENTUM}" if sooner < plan.steps else ""
    return (
        f"Take {number if family.parameter else f'the mapping {family.name}'} and gradient descent at learning rate "
        f"{plan.learning_rate:.3g} (of half the summed squares) for {plan.steps:,} steps{faster}: theory expects "
        f"{expected:.1f} dB between the training points ({low:.1f} to {high:.1f}), if the signal has no detail finer "
        "than their spacing."
    )


def _doubts(plan: Plan) -> str:
    idle = f"The mean of the labels alone gives {plan.psnr_of_mean:.1f} dB: little between the points can be predicted."
    late = "The criterion still rises at the last step of the search: longer training may help."
    hardly = float(plan.psnr[plan.best]) < plan.psnr_of_mean + WORTH
    return " ".join([DIAGONAL] * is_diagonal(plan.K) + [idle] * hardly + [late] * plan.late)


def _flatness(choice: Choice, plan: Plan) -> str:
    flat, by, word = choice.plateau, CRITERIA[plan.criterion][0], choice.candidate.family.parameter or "mapping"
    if flat.low == flat.high:
        return f"No other {word} was compared by {by}."
    edge = " (and maybe further: the search ends there)" if any(flat.at_edge) else ""
    return f"By {by} any {word} from {flat.low:.3g} to {flat.high:.3g} is as good{edge}."


def _width(plan: Plan) -> str:
    (width, safe), law, network = plan.width, plan.law, plan.candidate.network
    source = f"the width law measured over the first {law.latest:,.0f} steps of {law.source}"
    limits = (
        (safe > law.widths[1], f"the widest was {law.widths[1]:,}"),
        (plan.steps > law.latest, "more steps were not measured"),
        (
            (network.depth, activation(network)) != law.network,
            "the network was {} of depth {}".format(*law.network[::-1]),
        ),
    )
    beyond = "".join(f"; {text}" for holds, text in limits if holds)
    if network.parametrization == "standard":
        return f"Its width of {width:,} should keep it within {law.error(width):.0%} of theory by {source}{beyond}."
    return (
        f"A network of width {width:,} should follow to {plan.accuracy:.0%} by {source} ({safe:,} to be safe{beyond})."
    )
