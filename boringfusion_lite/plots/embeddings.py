"""Figures of page 02: who sees whom, what lies near what, and what scaling does to a picture."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from ..scoring import difference
from .canvas import (
    EMPTY,
    MONO,
    PAD,
    PROMPT,
    SIGNAL,
    UNSIGNED,
    WIDTH,
    axes_at,
    box,
    chart,
    new_page,
    numbers,
    row,
    say,
    tile,
)

ROLES = {"start": EMPTY, "all pads": PAD, "pads": PAD}  # every other name is one of words


def fader_sheet(rows: Mapping[str, Sequence], factors: Sequence[float], claim: str) -> Figure:
    """A row of pictures for each part of a prompt, a column for each factor that it is scaled by.

    rows: {part: pictures}; factors: 1 and 2 are among them. The bars are the mean difference
    between the pictures at factors 1 and 2.
    """
    one, two = factors.index(1), factors.index(2)
    moved = {name: difference(pictures[one], pictures[two]) for name, pictures in rows.items()}
    told = ", ".join(f"{name} {value:.0f}" for name, value in moved.items())
    alt = f"{claim}. Rows of pictures over factors; mean difference at factor 2: {told}."
    page = new_page(0.75 + 0.94 * len(rows), claim, alt)
    largest, size = max([*moved.values(), 1e-9]), 0.9
    bars = 1.4 + (size + 0.02) * len(factors)
    for number, (name, pictures) in enumerate(rows.items()):
        y, colour = 0.6 + 0.94 * number, ROLES.get(name, PROMPT)
        hatch = "////" if colour == PAD else None
        box(page, 0.05, y + 0.3, 1.15, 0.3, colour, hatch=hatch)
        say(page, 0.625, y + 0.45, name, family="monospace")
        row(page, 1.3, y, size, pictures, [f"x {f:g}" for f in factors] if number == 0 else ())
        length = (WIDTH - 0.35 - bars) * moved[name] / largest
        box(page, bars, y + 0.33, length, 0.24, "#333333", facecolor="#333333")
        say(page, bars + 0.05 + length, y + 0.45, f"{moved[name]:.0f}", ha="left", size=8)
    height = 0.94 * len(rows) - 0.04
    frame = axes_at(page, 1.3 + (size + 0.02) * one, 0.6, size, height)
    frame.set(facecolor="none", xticks=[], yticks=[], xlabel="untouched")
    frame.xaxis.label.set_size(8)
    frame.spines[:].set(linewidth=2.5, color="#111111")
    say(page, bars, 0.38, "pixels moved\nat x 2, of 255", ha="left", size=8)
    return page.figure


def causal_mask(probabilities: Tensor, names: Sequence[str], claim: str) -> Figure:
    """Which of the first tokens may look at which, and how much they do: both [T, T]."""
    count, shown = len(names), numbers(probabilities)
    alt = f"{claim}. Two maps of {count} x {count} tokens; above the diagonal everything is 0."
    page = new_page(3.6, claim, alt)
    maps = np.tril(np.ones((count, count))), shown
    for x, image, title in zip((1.1, 5.2), maps, ("may look", "looks (mean over heads)")):
        tile(page, x, 0.95, 2.5, 2.5, image, bar=x > 5, **UNSIGNED, vmax=1)
        say(page, x + 1.25, 0.6, title, weight="bold")
        for number, name in enumerate(names):
            at = (number + 0.5) * 2.5 / count
            say(page, x - 0.06, 0.95 + at, name, **MONO, ha="right")
            say(page, x + at, 0.9, str(number), **MONO)
    say(page, 0.25, 2.2, "the token that looks", rotation=90, size=8)
    return page.figure


def similarity_matrix(matrix: Tensor, rows: Sequence[str], columns: Sequence, claim: str) -> Figure:
    """Cosines [captions, pictures] with their numbers; rows: captions, columns: pictures."""
    count, shown = len(columns), numbers(matrix)
    alt = (
        f"{claim}. Matrix of {len(rows)} x {count} cosines, {shown.min():.2f} to {shown.max():.2f}."
    )
    side, left = 0.58, 3.6
    page = new_page(1.15 + 0.36 * len(rows), claim, alt)
    row(page, left, 0.42, side - 0.02, columns)
    tile(page, left, 1.03, side * count, 0.36 * len(rows), shown, **UNSIGNED, vmax=1)
    for y, (name, values) in enumerate(zip(rows, shown)):
        style = {"ha": "right", "size": 8, "linespacing": 1}
        say(page, left - 0.08, 1.21 + 0.36 * y, fill(name, 50), **style)
        for x, value in enumerate(values):
            colour = "black" if value > 0.6 else "white"
            at = (x + 0.5) / count, 1 - (y + 0.5) / len(rows)
            place = page.figure.axes[-1]
            style = {"transform": place.transAxes, "color": colour, "size": 8}
            place.text(*at, f"{value:.2f}", ha="center", va="center", **style)
    return page.figure


def share_bar(shares: Mapping[str, float], claim: str) -> Figure:
    """Shares that add up to 1, as one bar; parts named as on the fader sheet keep its colours."""
    told = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    page = new_page(1.1, claim, f"{claim}. One bar: {told}.")
    x, words = 0.05, 0
    for name, share in shares.items():
        colour = ROLES.get(name, PROMPT)
        words += colour == PROMPT
        style = {"facecolor": colour + ("55" if colour != PAD else "66")}
        hatch = "////" if colour == PAD else None
        box(page, x, 0.4, 8.9 * share, 0.3, "#333333", hatch=hatch, **style)
        if share > 0.02:
            low = colour == PROMPT and words % 2 == 0 and share < 0.12
            say(page, x + 4.45 * share, 0.95 if low else 0.82, f"{name} {share:.0%}", size=8)
        x += 8.9 * share
    return page.figure


def method_sheet(rows: Mapping[str, Sequence], weights: Sequence[float], claim: str) -> Figure:
    """Pictures of each method at each weight, with the context's length and mean under each.

    rows: {method: [(picture, length, mean), ...]}.
    """
    means = [abs(mean) for cells in rows.values() for _, _, mean in cells]
    unit = 10.0 ** np.floor(np.log10(max([*means, 1e-12])))
    alt = f"{claim}. {', '.join(rows)} at weights {', '.join(f'{w:g}' for w in weights)}."
    size = min(1.12, 7.8 / len(weights) - 0.06)
    page = new_page(0.8 + (size + 0.36) * len(rows), claim, alt)
    for number, (name, cells) in enumerate(rows.items()):
        y = 0.6 + (size + 0.36) * number
        say(page, 0.05, y + size / 2, name.replace(" ", "\n"), ha="left", weight="bold")
        for place, (weight, (picture, length, mean)) in enumerate(zip(weights, cells)):
            x = 1.1 + (size + 0.06) * place
            tile(page, x, y, size, size, picture)
            if number == 0:
                say(page, x + size / 2, y - 0.1, f"weight {weight:g}", **MONO)
            say(page, x + size / 2, y + size + 0.1, f"{length:.1f}  {mean / unit:+.2f}", **MONO)
    foot = f"under each picture: length of the context, its mean in units of {unit:.0e}"
    say(page, 1.1, page.figure.get_size_inches()[1] - 0.12, foot, ha="left", size=8, color=EMPTY)
    return page.figure


def effect_curves(points: Sequence[Mapping], claim: str, height: float = 1.2) -> Figure:
    """What `data/emphasis.json` holds: a row of charts for each kind of word, a column a method.

    Every chart: the share of pictures that show what the word names, with its 95 % interval, and
    the share in which the rest of the prompt is right, both against the weight.
    """
    cases = list(dict.fromkeys(point["case"] for point in points))
    methods = list(dict.fromkeys(point["method"] for point in points))
    ends = min(p["weight"] for p in points), max(p["weight"] for p in points)
    alt = f"{claim}. Shares of pictures against the weight, for {', '.join(cases)} and each method."
    page = new_page(1.0 + (height + 0.2) * len(cases), claim, alt)
    for line, case in enumerate(cases):
        for column, method in enumerate(methods):
            x, y = 0.95 + 2.75 * column, 0.62 + (height + 0.2) * line
            axes = chart(page, x, y, 2.4, height, ylim=(-0.03, 1.03), yticks=(0, 0.5, 1))
            axes.set(
                xlim=(ends[0] - 0.2, ends[1] + 0.2), xticks=range(int(ends[0]), int(ends[1]) + 1)
            )
            last = line == len(cases) - 1
            axes.tick_params(labelsize=8, labelbottom=last, labelleft=column == 0)
            axes.grid(axis="x", visible=False)
            axes.axvline(1, color="black", lw=0.8, ls=":")
            chosen = [p for p in points if (p["case"], p["method"]) == (case, method)]
            _curves(axes, sorted(chosen, key=lambda p: p["weight"]))
            if line == 0:
                say(page, x + 1.2, y - 0.12, method, weight="bold")
        say(page, 0.3, 0.62 + (height + 0.2) * line + height / 2, f"{case} word", rotation=90)
    bottom = page.figure.get_size_inches()[1] - 0.12
    say(page, 0.95, bottom, "blue, solid: the word is seen", ha="left", color=PROMPT)
    say(page, 4.9, bottom, "shares of pictures, against the weight")
    say(page, 8.85, bottom, "green, dashed: the rest is right", ha="right", color="#00694D")
    return page.figure


def _curves(axes, points: Sequence[Mapping]) -> None:
    """Two lines with their 95 % intervals, the one a little aside so that both can be seen."""
    weights = [point["weight"] for point in points]
    for part, colour, style, aside in (("rest", SIGNAL, "s--", 0.05), ("word", PROMPT, "o-", 0)):
        rates = [point[part] / point["n"] for point in points]
        low, high = zip(*(point[f"{part}_interval"] for point in points))
        places = [weight + aside for weight in weights]
        axes.vlines(places, low, high, color=colour, lw=1)
        axes.plot(places, rates, style, color=colour, lw=1.5, ms=3.5)
