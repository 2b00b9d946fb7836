"""Samplers at work: points that find their way, pictures beside calls, what guidance does."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from .canvas import (
    EMPTY,
    GUIDANCE,
    LATENT,
    MONO,
    NOISE,
    PIXEL,
    PROMPT,
    SIGNAL,
    WIDTH,
    axes_at,
    chart,
    new_page,
    numbers,
    row,
    say,
)

MARKS = ("o", "s", "^", "D", "v", "P", "X")
COLOURS = (PROMPT, NOISE, SIGNAL, EMPTY, GUIDANCE, PIXEL, LATENT)
REACH = 2.9  # how far the plane is drawn to each side of its middle


def guess_arrows(points: Tensor, guesses: Mapping, claim: str) -> Figure:
    """The clean-guesses of a denoiser of points [N, 2] in the plane.

    guesses: {label: (x [B, 2], x0 [B, 2])}: an arrow from each noisy point to its clean-guess.
    """
    alt = f"{claim}. Arrows from noisy points to their clean-guesses at {', '.join(guesses)}."
    page = new_page(_side(len(guesses)) + 0.8, claim, alt)
    for number, (label, (x, x0)) in enumerate(guesses.items()):
        axes = _plane(page, number, len(guesses), label)
        (x_from, y_from), (x_to, y_to) = numbers(x).T, numbers(x0).T
        arrows = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.005}
        axes.quiver(x_from, y_from, x_to - x_from, y_to - y_from, color=LATENT, **arrows)
        axes.scatter(*numbers(points).T, s=16, color=SIGNAL, lw=0, zorder=2)
        axes.scatter(x_from, y_from, s=6, color=NOISE, lw=0, zorder=3)
        axes.scatter(x_to, y_to, s=9, color="black", lw=0, zorder=4)
    told = "orange: noisy, x_t     black: clean-guess     green: data"
    say(page, 0.05, _side(len(guesses)) + 0.65, told, ha="left")
    return page.figure


def plane_paths(
    points: Tensor, runs: Mapping[str, Tensor], claim: str, rest=None, reach: float = REACH
) -> Figure:
    """The ways of many points through the plane, {label: [steps + 1, B, 2]}, a panel each.

    points [N, 2]: the data they should reach; rest [M, 2]: other data, shown as grey rings.
    """
    alt = f"{claim}. Paths from noise (rings) to their ends (black dots): {', '.join(runs)}."
    page = new_page(_side(len(runs)) + 0.8, claim, alt)
    for number, (label, paths) in enumerate(runs.items()):
        axes, paths = _plane(page, number, len(runs), label, reach), numbers(paths)
        if rest is not None:
            axes.scatter(*numbers(rest).T, s=16, facecolor="none", edgecolor=EMPTY, lw=0.8)
        axes.scatter(*numbers(points).T, s=20, color=SIGNAL, lw=0, zorder=2)
        axes.plot(paths[..., 0], paths[..., 1], color=LATENT, lw=0.7, zorder=1)
        axes.scatter(*paths[0].T, s=9, facecolor="none", edgecolor=NOISE, lw=0.8, zorder=3)
        axes.scatter(*paths[-1].T, s=9, color="black", lw=0, zorder=4)
    told = "orange rings: where they start     black: where they end     green: data"
    told += "" if rest is None else "     grey rings: the rest of the data"
    say(page, 0.05, _side(len(runs)) + 0.65, told, ha="left")
    return page.figure


def _side(count: int) -> float:
    """Inches to a side where so many square panels stand in a row."""
    return min(2.15, 8.9 / count - 0.08)


def _plane(page, number: int, count: int, label: str, reach: float = REACH):
    """The square panel of the plane with this number out of so many."""
    side = _side(count)
    x = 0.05 + number * (side + 0.08)
    axes = axes_at(page, x, 0.5, side, side)
    axes.set(xticks=[], yticks=[], xlim=(-reach, reach), ylim=(-reach, reach))
    axes.spines[:].set_color(EMPTY)
    say(page, x + side / 2, 0.4, label, **MONO)
    return axes


def picture_grid(rows: Mapping[str, Sequence], labels: Mapping[str, Sequence], claim: str):
    """Rows of pictures, each with a label of its own above it: {name: pictures}, {name: labels}."""
    across = max(map(len, rows.values()))
    left = 0.2 + 0.085 * max(map(len, rows))
    size = min(1.28, (WIDTH - left) / across - 0.02)
    told = "; ".join(f"{name}: {', '.join(labels[name])}" for name in rows)
    page = new_page(0.35 + (size + 0.24) * len(rows), claim, f"{claim}. {told}."[:390])
    for number, (name, pictures) in enumerate(rows.items()):
        y = 0.56 + (size + 0.24) * number
        say(page, left - 0.1, y + size / 2, name, ha="right", **MONO)
        row(page, left, y, size, pictures, labels[name])
    return page.figure


def distances_by_calls(lines: Mapping[str, tuple], claim: str, what: str) -> Figure:
    """Distance to a reference against calls of the UNet: {sampler: (calls, distances)}."""
    ends = ", ".join(f"{name} {far[-1]:.3f}" for name, (_, far) in lines.items())
    page = new_page(3.2, claim, f"{claim}. Lines on logarithmic axes; at the last point: {ends}.")
    labels = {"xlabel": "calls of the UNet", "ylabel": what, "xscale": "log", "yscale": "log"}
    axes = chart(page, 0.8, 0.45, 6.9, 2.2, **labels)
    for (calls, far), mark, colour in zip(lines.values(), MARKS, COLOURS):
        axes.plot(calls, far, color=colour, marker=mark, ms=4, lw=1.4)
    bottom, top = np.log(axes.get_ylim())
    ticks = sorted({n for calls, _ in lines.values() for n in calls})
    kept = [n for n, after in zip(ticks, [*ticks[1:], np.inf]) if after >= 1.15 * n]
    axes.set_xticks(kept, [str(n) for n in kept])
    axes.set_xticks([], minor=True)
    places = _apart([np.log(far[-1]) for _, far in lines.values()], 0.08 * (top - bottom))
    for (name, (calls, far)), colour, y in zip(lines.items(), COLOURS, places):
        spot = 1.12 * max(ticks), np.exp(y)
        axes.plot([calls[-1], spot[0]], [far[-1], spot[1]], color=colour, lw=0.5, clip_on=False)
        axes.text(*spot, f" {name}", color=colour, va="center")
    axes.set_xlim(0.9 * ticks[0], 1.12 * ticks[-1])
    return page.figure


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """Heights of labels, moved up where they would touch the one below."""
    places: dict[int, float] = {}
    for i in sorted(range(len(heights)), key=lambda i: heights[i]):
        places[i] = max([heights[i], *(place + gap for place in places.values())])
    return [places[i] for i in range(len(heights))]


def latent_paths(runs: Mapping[str, Tensor], claim: str) -> Figure:
    """Ways through the space of latents, {name: [steps + 1, ...]}, in its two largest directions.

    The directions are those along which all the points together vary most (principal components).
    """
    flat = {name: numbers(path).reshape(len(path), -1) for name, path in runs.items()}
    points = np.concatenate(list(flat.values()))
    middle = points.mean(0)
    _, sizes, axes_of = np.linalg.svd(points - middle, full_matrices=False)
    share = (sizes[:2] ** 2).sum() / (sizes**2).sum()
    small = f"2 of {points.shape[1]:,} dimensions, {share:.0%} of the variance"
    page = new_page(4.2, claim, f"{claim}. Paths of {', '.join(flat)}, drawn in {small}.")
    axes = chart(page, 0.8, 0.45, 6.4, 3.1, xlabel=f"first direction ({small})")
    axes.set_ylabel("second direction")
    ends, groups = {}, list(dict.fromkeys(name.split(",")[0] for name in flat))
    for name, path in flat.items():
        x, y = ((path - middle) @ axes_of[:2].T).T
        which = groups.index(name.split(",")[0])
        style = {"color": COLOURS[which], "marker": MARKS[which], "ms": 3, "lw": 1}
        axes.plot(x, y, **style)
        axes.plot(x[-1:], y[-1:], **(style | {"ms": 8, "markeredgecolor": "black"}))
        ends.setdefault(groups[which], style)
    axes.plot(x[:1], y[:1], marker="*", ms=14, color="black")
    for name, style in ends.items():
        axes.plot([], [], label=name, **style)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return page.figure


def guidance_fan(
    pictures: Sequence, scales: Sequence, uncond: Tensor, cond: Tensor, sizes: Mapping
) -> Figure:
    """What guidance does to a picture, to the noise-guess, and to the size of the latents.

    pictures: one a scale; uncond, cond: noise-guesses of one moment, in one shape; sizes: {scale:
    (standard deviation of the latents, share of clipped pixel values)}, for more scales if wanted.
    """
    claim = f"Guidance {min(scales):g} to {max(scales):g}: beyond 1 the prompt is exaggerated"
    told = ", ".join(f"{g:g}: {std:.2f} and {cut:.2%}" for g, (std, cut) in sizes.items())
    page = new_page(4.2, claim, f"{claim}. Latent std and clipped pixels by scale: {told}."[:390])
    size = min(1.25, 8.9 / len(pictures) - 0.02)
    row(page, 0.05, 0.55, size, pictures, [f"g = {g:g}" for g in scales])
    _guidance_line(page, scales, uncond, cond)
    for number, (name, colour) in enumerate((("latent std", "black"), ("clipped %", GUIDANCE))):
        axes = chart(page, 6.1, 2.15 + 0.9 * number, 2.7, 0.72, ylabel=name)
        values = [pair[number] * (1, 100)[number] for pair in sizes.values()]
        axes.plot(list(sizes), values, color=colour, marker="od"[number], ms=3, lw=1.2)
        axes.set_ylim(0, max(1.15 * max(values), 0.01))
        axes.yaxis.set_label_coords(-0.19, 0.5)
    page.figure.axes[-2].tick_params(labelbottom=False)
    axes.set_xlabel("guidance g")
    return page.figure


def _guidance_line(page, scales: Sequence, uncond: Tensor, cond: Tensor) -> None:
    """u, c and the guided guesses between and beyond them, on the line through u and c."""
    u, c = (numbers(part).reshape(-1) for part in (uncond, cond))
    length = max(np.linalg.norm(c - u), 1e-9)
    places = length * np.array(scales, dtype=float)
    axes = chart(page, 0.3, 2.55, 4.7, 0.95, yticks=[], ylim=(-0.6, 1.2))
    axes.spines["left"].set_visible(False)
    axes.axhline(0, color="#333333", lw=0.8, zorder=1)
    axes.scatter(places, 0 * places, marker="d", s=42, color=GUIDANCE, edgecolor="#333333", lw=0.6)
    for place, colour, style in ((0, EMPTY, "--"), (length, PROMPT, "-")):
        fill = "white" if colour == EMPTY else colour
        axes.scatter(place, 0, s=60, facecolor=fill, edgecolor=colour, linestyle=style, zorder=3)
    for g, x in zip(scales, places):
        name = {0: "u", 1: "c"}.get(g, f"{g:g}")
        axes.text(x, 0.6, name, ha="center", va="center", fontsize=9)
    axes.set_xlabel(f"distance from u; 1 of {u.size:,} dimensions, real noise-guesses")
    say(page, 2.65, 2.2, "u: no prompt     c: prompt, g = 1     diamonds: beyond, we extrapolate")
