"""How sure is a score? Draw the sample again from itself, pair what belongs together, and take out
what the judge gets wrong."""

from collections.abc import Callable

import torch
from torch import Tensor

from .runtime import generator

CONFIDENCE = 0.95


def bootstrap(
    values: Tensor,
    statistic: Callable[[Tensor], Tensor] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> tuple[float, float]:
    """The interval of a statistic of N measurements [N, ...], by default of their mean.

    N of the N are drawn, with replacement, again and again; the middle 95 % of what the statistic
    then says is the interval (Efron 1979). ValueError for no measurements.
    """
    if not len(values):
        raise ValueError("no measurements: there is nothing to draw from")
    n, g = len(values), generator(seed)
    chosen = torch.randint(n, (resamples, n), generator=g)
    if statistic is None:
        found = values.double()[chosen].mean(dim=1)
    else:
        found = torch.tensor([float(statistic(values[rows])) for rows in chosen])
    tail = (1 - confidence) / 2
    low, high = found.double().quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64))
    return low.item(), high.item()


def paired_difference(one: Tensor, other: Tensor, **options) -> tuple[float, float]:
    """The interval of mean(other - one) for two scores [N] of the same prompts and seeds.

    What is hard for both cancels out; options: `bootstrap`'s. ValueError for scores that do not
    belong together.
    """
    if one.shape != other.shape:
        raise ValueError(f"{list(one.shape)} and {list(other.shape)} scores are no pairs")
    return bootstrap(other.double() - one.double(), **options)


def without_judge_error(rate: float, hits: float, false_alarms: float) -> float:
    """The true share of right pictures, given the share that a judge with known errors calls right.

    hits: how often it calls a right picture right; false_alarms: how often a wrong one (Rogan &
    Gladen 1978). ValueError for a judge that cannot tell the two apart.
    """
    if hits <= false_alarms:
        raise ValueError(
            f"a judge with {hits:.0%} hits and {false_alarms:.0%} false alarms tells nothing: "
            "ask a better one."
        )
    return min(1.0, max(0.0, (rate - false_alarms) / (hits - false_alarms)))
