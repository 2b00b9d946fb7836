"""Figures of the pages that train: curves of losses, and what a network made while it learned."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ..scoring import wilson
from .canvas import (
    EMPTY,
    GUIDANCE,
    MONO,
    NOISE,
    PAD,
    PIXEL,
    PROMPT,
    SIGNAL,
    WIDTH,
    chart,
    new_page,
    say,
    tile,
)

Points = Sequence[tuple[float, float]]  # (minutes or samples or steps, loss)
STYLES = [
    (PROMPT, "-"),
    (NOISE, "--"),
    (SIGNAL, "-."),
    (GUIDANCE, ":"),
    (PIXEL, "-"),
    (EMPTY, "--"),
]
MOST_POINTS = 300  # a curve is at most so many points: what comes between is averaged
MOMENTS = {"interpolation": "nearest"}


def smooth(points: Points, share: float = 0.05) -> np.ndarray:
    """A curve [N, 2] of means around each point, over a share of it; `MOST_POINTS` at most."""
    whole = np.asarray(points, dtype=float).reshape(-1, 2)
    if len(whole) > MOST_POINTS:
        whole = np.stack([part.mean(axis=0) for part in np.array_split(whole, MOST_POINTS)])
    width = max(1, round(share * len(whole)))
    sums = np.cumsum(np.vstack([np.zeros(2), whole]), axis=0)
    middle = np.arange(len(whole))
    start, end = np.maximum(0, middle - width // 2), np.minimum(len(whole), middle + width // 2 + 1)
    means = (sums[end] - sums[start]) / (end - start)[:, None]
    return np.stack([whole[:, 0], means[:, 1]], axis=1)


def loss_curve(
    curves: Points | Mapping[str, Points],
    claim: str,
    *,
    xlabel: str = "minutes of training",
    ylabel: str = "loss",
    levels: Mapping[str, float] | None = None,
    log: bool = False,
    end: float | None = None,
    height: float = 2.4,
) -> Figure:
    """Losses over time: one curve of points (x, loss), or several by name, each smoothed.

    A single curve also shows its raw points, faintly. levels: dotted lines to compare with, such as
    {"guessing": 4.16}; log: a logarithmic loss axis; end: where the x axis ends.
    """
    curves, levels = curves if isinstance(curves, Mapping) else {"": curves}, levels or {}
    alt = f"{claim}. {ylabel} over {xlabel}: {_told(curves)}."
    page = new_page(height, claim, alt)
    axes = chart(page, 0.7, 0.45, WIDTH - 2.1, height - 0.95, xlabel=xlabel, ylabel=ylabel)
    _draw_curves(axes, curves, levels, log, end)
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize=8, handlelength=3, loc="upper right")
    return page.figure


def growth(
    points: Points,
    moments: Mapping[float, Sequence],
    claim: str,
    *,
    xlabel: str = "minutes of training",
    ylabel: str = "loss",
    levels: Mapping[str, float] | None = None,
    log: bool = False,
    unit: str = "min",
    style: Mapping | None = None,
) -> Figure:
    """What a network made at some moments of its training, over the curve of its loss.

    moments: {x: pictures or maps, shown below each other}, at most eight; a hairline leads from
    each column to its place on the curve. style: how maps are shown, as in `imshow`.
    """
    columns, style = len(moments), {**MOMENTS, **(style or {})}
    deep = max((len(pictures) for pictures in moments.values()), default=0)
    side = min(1.6, (WIDTH - 0.8) / max(1, columns) - 0.1)
    top, below = 0.55, 0.55 + deep * (side + 0.04) + 0.3
    told = ", ".join(f"{x:.3g}" for x in moments)
    page = new_page(below + 2.0, claim, f"{claim}. Above at {told} {unit}; {_told({'': points})}.")
    axes = chart(page, 0.7, below, WIDTH - 2.1, 1.5, xlabel=xlabel, ylabel=ylabel)
    _draw_curves(axes, {"": points}, levels or {}, log, None)
    step = (WIDTH - 0.7) / max(1, columns)
    low, high = axes.get_xlim()
    for number, (x, pictures) in enumerate(moments.items()):
        left = 0.7 + step * number
        say(
            page,
            left + side / 2,
            top - 0.11,
            f"{x:.2g} {unit}" if x < 1 else f"{x:.3g} {unit}",
            **MONO,
        )
        for line, picture in enumerate(pictures):
            tile(page, left, top + (side + 0.04) * line, side, side, picture, **style)
        place = 0.7 + (WIDTH - 2.1) * (x - low) / (high - low)
        axes.axvline(x, color=EMPTY, lw=0.6, alpha=0.6)
        page.plot([left + side / 2, place], [below - 0.24, below], color=EMPTY, lw=0.6, alpha=0.6)
    return page.figure


def arms(
    curves: Mapping[str, Points],
    right: Mapping[str, tuple[int, int]],
    claim: str,
    *,
    measured: str,
    chance: float | None = None,
    xlabel: str = "samples seen",
) -> Figure:
    """An experiment: the loss curves of its arms on the left, what they reached on the right.

    right: {arm: (how many, of how many)}, drawn as shares with their 95 % intervals; measured: what
    is counted there; chance: the share that guessing would reach.
    """
    shares = {name: many / of for name, (many, of) in right.items()}
    told = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    page = new_page(3.0, claim, f"{claim}. {_told(curves)}. {measured}: {told}.")
    axes = chart(page, 0.6, 0.6, 3.9, 1.85, xlabel=xlabel, ylabel="loss")
    _draw_curves(axes, curves, {}, False, None)
    if curves:
        axes.legend(fontsize=8, handlelength=3, loc="upper right", edgecolor="none")
    most = 0.25 if max(wilson(*pair)[1] for pair in right.values()) < 0.25 else 1
    bars = chart(page, 6.2, 0.6, 2.2, 1.85, yticks=range(len(right)), xlim=(0, most))
    marks = [0, most / 2, most]
    bars.set(xticks=marks, xticklabels=[f"{100 * mark:g} %" for mark in marks])
    bars.set_yticks(range(len(right)), list(right))
    bars.invert_yaxis()
    bars.set_title(measured, fontsize=9, loc="left")
    for number, (name, (many, of)) in enumerate(right.items()):
        low, high = wilson(many, of)
        bars.barh(number, shares[name], height=0.6, color=STYLES[number % len(STYLES)][0])
        bars.plot([low, high], [number, number], color="black", lw=1.5)
        bars.annotate(f" {shares[name]:.0%}", (high, number), fontsize=8, va="center")
    if chance is not None:
        bars.axvline(chance, color="black", ls=":", lw=1)
    return page.figure


def softmax_rows(rows: Mapping[str, Sequence[float]], own: int, claim: str) -> Figure:
    """The same scores as probabilities, a row of bars each; the bar of the right answer is blue."""
    told = "; ".join(f"{name}: {values[own]:.0%}" for name, values in rows.items())
    page = new_page(0.65 + 0.75 * len(rows), claim, f"{claim}. Bars, the right one: {told}.")
    for number, (name, values) in enumerate(rows.items()):
        y = 0.45 + 0.75 * number
        say(page, 1.55, y + 0.28, name, ha="right")
        axes = chart(page, 1.7, y, WIDTH - 2.6, 0.55, xticks=[], yticks=(0, 1), ylim=(0, 1))
        colours = [PROMPT if place == own else PAD for place in range(len(values))]
        axes.bar(range(len(values)), values, color=colours, width=0.9)
        axes.set_xlim(-0.6, len(values) - 0.4)
        say(page, WIDTH - 0.8, y + 0.28, f"{values[own]:.0%}", ha="left", color=PROMPT)
    return page.figure


def _told(curves: Mapping[str, Points]) -> str:
    """First and last value of every curve, for the text that stands for the picture."""
    ends = {name: smooth(points) for name, points in curves.items() if len(points)}
    told = [f"{name or 'it'} from {s[0, 1]:.3g} to {s[-1, 1]:.3g}" for name, s in ends.items()]
    return "; ".join(told) or "nothing yet"


def _draw_curves(axes, curves: Mapping[str, Points], levels: Mapping, log: bool, end) -> None:
    if log:
        axes.set_yscale("log")
    for number, (name, points) in enumerate(curves.items()):
        colour, dash = STYLES[number % len(STYLES)]
        if len(points):
            raw, line = smooth(points, 0), smooth(points)
            if len(curves) == 1:
                axes.plot(*raw.T, color=colour, lw=0.7, alpha=0.35)
            axes.plot(*line.T, dash, color=colour, lw=1.6, label=name)
            if len(curves) == 1:
                told = f" {line[-1, 1]:.3g}"
                axes.annotate(told, line[-1], color=colour, fontsize=9, va="center")
    for name, value in levels.items():
        axes.axhline(value, color="black", ls=":", lw=1)
        axes.annotate(
            f" {name}", (1, value), xycoords=("axes fraction", "data"), fontsize=8, va="center"
        )
    axes.set_xlim(0, end)
