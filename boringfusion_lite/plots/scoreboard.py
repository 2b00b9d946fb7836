"""Figures about sets of pictures: territories, neighbours, and a board of all scores."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from .canvas import MONO, NOISE, PROMPT, SIGNAL, WIDTH, chart, new_page, numbers, say, tile
from .measuring import LOOKS

WORDS = {"high": "more is better", "low": "less is better"}
ORDER = {"high": lambda value: -value, "low": lambda value: value}


def _near(target):
    """What sorts numbers by how far they are from a target."""
    return lambda value: abs(value - target)


def territories(
    cases: Mapping[str, tuple[Tensor, Tensor]], told: Sequence[str], radii, claim: str
) -> Figure:
    """Points of the plane {name: (real [N, 2], generated [M, 2])}, with the balls around the real.

    radii: function of points [N, 2] -> [N]; told: a line under each panel.
    """
    page = new_page(3.2, claim, f"{claim}. {'; '.join(map(' '.join, zip(cases, told)))}.")
    wide = (WIDTH - 0.3) / len(cases)
    for number, (name, (real, made)) in enumerate(cases.items()):
        left = 0.2 + number * wide
        axes = chart(page, left, 0.55, wide - 0.12, 2.2, title=name, xticks=[], yticks=[])
        axes.title.set(fontsize=9)
        for (x, y), r in zip(real.tolist(), radii(real).tolist()):
            axes.add_patch(Circle((x, y), r, color=SIGNAL, alpha=0.1, lw=0))
        axes.plot(*numbers(real).T, "o", color=SIGNAL, ms=3, label="real")
        axes.plot(*numbers(made).T, "^", color=NOISE, ms=3, label="generated")
        high = 3.4 * 2.2 / (wide - 0.12)  # balls are round
        axes.set(xlim=(-3.4, 3.4), ylim=(-high, high))
        say(page, left + (wide - 0.12) / 2, 2.95, told[number], **MONO)
        if number == 0:
            axes.legend(frameon=False, fontsize=8, loc="lower left", handletextpad=0.1)
    return page.figure


def closeness(distances: Mapping[str, Tensor], claim: str, limit: float | None = None) -> Figure:
    """What share of each set lies nearer to its nearest training picture than a distance.

    limit: below it only the nearest of the unseen pictures lie.
    """
    middle = [f"{name} {numbers(held).mean():.2f}" for name, held in distances.items()]
    page = new_page(2.7, claim, f"{claim}. Mean distances: {', '.join(middle)}.")
    labels = {"xlabel": "distance to the nearest training picture", "ylabel": "share nearer"}
    axes = chart(page, 0.75, 0.45, WIDTH - 1.2, 1.65, **labels, ylim=(0, 1.03))
    for look, (name, held) in zip(LOOKS, distances.items()):
        x = np.sort(numbers(held))
        x, y = np.concatenate([[0], x]), np.linspace(0, 1, len(x) + 1)
        axes.step(x, y, where="post", color=look["color"], ls=look["ls"], lw=1.6, label=name)
    if limit is not None:
        axes.axvline(limit, color="black", ls=":", lw=1)
    axes.set(xlim=(0, None))
    axes.legend(frameon=False, fontsize=8, handlelength=3, loc="lower right")
    return page.figure


def scoreboard(
    rows: Mapping[str, Mapping[str, float]],
    pictures: Mapping[str, Sequence],
    best: Mapping[str, str | float],
    claim: str,
    forms: Mapping[str, str] | None = None,
) -> Figure:
    """A line for each "model": a few of its pictures, then its scores; the best is printed bold.

    best: {score: "high", "low", or the number that is best}; forms: {score: how to print it}.
    """
    told = [
        f"{name}: {', '.join(f'{s} {v:.2f}' for s, v in held.items())}"
        for name, held in rows.items()
    ]
    page = new_page(0.85 + 0.72 * len(rows), claim, f"{claim}. {'; '.join(told)}.")
    shown, size = len(next(iter(pictures.values()))), 0.66
    left = 1.25 + shown * (size + 0.03) + 0.1
    wide = (WIDTH - left - 0.1) / len(best)
    for column, score in enumerate(best):
        x, told = left + wide * (column + 0.5), WORDS.get(best[score], f"{best[score]} is normal")
        say(page, x, 0.5, f"{fill(score, 11)}\n({told})", size=8, linespacing=1.1)
    winners = {
        score: sorted((held[score] for held in rows.values()), key=ORDER.get(way, _near(way)))[0]
        for score, way in best.items()
    }
    forms = dict.fromkeys(best, "{:.2f}") | (forms or {})
    for number, (name, held) in enumerate(rows.items()):
        y = 0.8 + 0.72 * number
        say(page, 1.15, y + size / 2, fill(name, 16), ha="right")
        for k, picture in enumerate(pictures[name]):
            tile(page, 1.25 + k * (size + 0.03), y, size, size, picture)
        for column, score in enumerate(best):
            text, winner = (forms[score].format(one) for one in (held[score], winners[score]))
            weight = "bold" if text == winner else "normal"  # what reads alike is alike
            colour = PROMPT if weight == "bold" else "black"
            x = left + wide * (column + 0.5)
            say(page, x, y + size / 2, text, family="monospace", weight=weight, color=colour)
    return page.figure
