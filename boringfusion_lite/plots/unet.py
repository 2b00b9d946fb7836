"""Page 04: guesses from every depth of noise, errors against t, the U itself, skips cut."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from .canvas import (
    EMPTY,
    LATENT,
    MONO,
    NOISE,
    PROMPT,
    SIGNAL,
    SIGNED,
    UNSIGNED,
    arrow,
    box,
    chart,
    new_page,
    numbers,
    row,
    say,
    tile,
)
from .maps import bar


def depth_guesses(
    timesteps: Sequence[int], inputs, guesses, gaps: Tensor, errors: Sequence[float], truth
) -> Figure:
    """One picture noised to several t: the input, the clean-guess, how far that is from the truth.

    inputs, guesses: PIL pictures; gaps [T, H, W]: |guess - truth|, on one scale; errors: mean
    squared error of the clean latents.
    """
    claim = "One call from heavy noise gives a rough guess, from light noise a repair"
    told = ", ".join(f"t={t} error {error:.2g}" for t, error in zip(timesteps, errors))
    alt = f"Noisy input, clean-guess and its distance from the truth at five noise levels: {told}."
    page, size, x = new_page(4.7, claim, alt), 1.28, 1.75
    row(page, 0.1, 1.86, 1.2, [truth], ["the truth"])
    rows = {"noisy input": (inputs, NOISE), "clean-guess": (guesses, SIGNAL)}
    for number, (name, (pictures, colour)) in enumerate(rows.items()):
        y = 0.5 + 1.32 * number
        say(page, x - 0.12, y + size / 2, name, rotation=90, color=colour, weight="bold")
        row(page, x, y, size, pictures, [f"t = {t}" for t in timesteps] if number == 0 else ())
    scale = {"vmax": float(gaps.max())} | UNSIGNED
    y = 0.5 + 1.32 * 2
    say(page, x - 0.12, y + size / 2, "|guess - truth|", rotation=90)
    for number, (gap, error) in enumerate(zip(gaps, errors)):
        left = x + (size + 0.02) * number
        tile(page, left, y, size, size, numbers(gap), bar=number == len(gaps) - 1, **scale)
        say(page, left + size / 2, y + size + 0.13, f"{error:.2g}", **MONO)
    say(page, x - 0.12, y + size + 0.13, "mean squared error", ha="right", size=8)
    return page.figure


def error_chart(
    timesteps: Sequence[int],
    errors: Tensor,
    baselines: Mapping[str, Sequence[float]],
    claim: str,
    what: str,
    log: bool = False,
) -> Figure:
    """Errors [T, B] of the model against t, with the 95 % interval of their mean, and baselines."""
    values = numbers(errors)
    mean = values.mean(axis=1)
    half = 1.96 * values.std(axis=1, ddof=1) / values.shape[1] ** 0.5
    told = ", ".join(f"{m:.2g} at {t}" for t, m in zip(timesteps, mean))
    page = new_page(3.2, claim, f"Line chart of the {what} against t. {claim}. Model: {told}.")
    axes = chart(page, 0.75, 0.45, 6.5, 2.2, xlabel="timestep t (noise grows to the right)")
    axes.set(ylabel=fill(what, 28), yscale="log" if log else "linear")
    for line, style in zip(baselines.values(), (":", "--", "-.")):
        axes.plot(timesteps, line, style, color="black", lw=1.2)
    axes.fill_between(timesteps, mean - half, mean + half, color=NOISE, alpha=0.25, lw=0)
    axes.plot(timesteps, mean, color=NOISE, marker="o", ms=3)
    low, high = axes.get_ylim()
    axes.set_ylim(low if log else 0, high)
    names = [("the model", NOISE, "-")]
    names += [(name, "black", style) for name, style in zip(baselines, (":", "--", "-."))]
    for number, (name, colour, style) in enumerate(names):
        y = 0.7 + 0.5 * number
        page.plot([7.4, 7.7], [y, y], style, color=colour, lw=1.4)
        say(page, 7.78, y, fill(name, 17), ha="left", size=8, color=colour)
    return page.figure


def time_fingerprints(timesteps: Sequence[int], features: Tensor, claim: str) -> Figure:
    """Time features [T, width] of evenly spaced timesteps from 0, one column each: many clocks."""
    values = numbers(features).T
    steps, width = len(features), len(values)
    page = new_page(3.2, claim, f"Heat map, {width} features for {steps} timesteps. {claim}.")
    style = dict(SIGNED, vmin=-1, vmax=1)  # cosines and sines
    tile(page, 0.95, 0.45, 7.2, 2.25, values, **style)
    bar(page, 8.3, 0.45, 2.25, style)
    say(page, 0.85, 1.0, f"cosines\n0 to {width // 2 - 1}", ha="right", size=8)
    say(page, 0.85, 2.1, f"sines\n0 to {width // 2 - 1}", ha="right", size=8)
    for column in range(0, steps, max(1, steps // 10)):
        say(page, 0.95 + 7.2 * (column + 0.5) / steps, 2.8, str(int(timesteps[column])), size=8)
    say(page, 4.5, 3.02, "timestep t")
    return page.figure


def u_diagram(rows: Sequence, features: Mapping[str, Tensor], claim: str) -> Figure:
    """The U to scale: a slab a row (height = pixels, width = channels), skips, and real features.

    rows: those of `anatomy.unet_table`; features: {row: [C, h, w]}, drawn as the mean size over the
    channels, each row on a scale of its own with the maximum printed.
    """
    alt = f"The {len(rows)} rows of the UNet drawn to scale with their skips and features. {claim}."
    page = new_page(5.0, claim, alt)
    _slabs(page, rows)
    legend = (
        (0.1, "slab: height = pixels of a side, width = channels (number)", EMPTY),
        (4.05, "blue: looks at pixels and words", PROMPT),
        (6.4, "lines: skips, from down to up", "#1B7FB5"),
    )
    for x, text, colour in legend:
        say(page, x, 3.3, text, ha="left", size=8, color=colour)
    _thumbnails(page, rows, features)
    note = "mean size of the features that flow out; brightest cell: the number below, by row"
    say(page, 0.1, 4.8, note, ha="left", size=8)
    arrow(page, 7.0, 4.8, 8.8, 4.8)
    say(page, 6.95, 4.8, "order of the walk", ha="right", size=8)
    return page.figure


def _slabs(page, rows: Sequence) -> None:
    """A box a row, lower where pixels are fewer, and lines for the skips."""
    step = 8.8 / len(rows)
    sizes = [(one.shape_in if one.place[0] == 2 else one.shape)[-1] for one in rows]
    levels = {size: n for n, size in enumerate(sorted(set(sizes), reverse=True))}
    widest, downs = max(one.shape[1] for one in rows), sum(one.place[0] == 0 for one in rows)
    places = {}  # name -> centre, width and height of its slab
    for number, (one, size) in enumerate(zip(rows, sizes)):
        x, y = 0.1 + step * (number + 0.5), 1.05 + 1.4 * levels[size] / max(1, len(levels) - 1)
        width, height = 0.75 * step * one.shape[1] / widest, 1.2 * size / max(sizes)
        places[one.name] = x, y, max(0.05, width), max(0.12, height)
    for one in rows:
        x, y, width, height = places[one.name]
        colour = PROMPT if "Attn" in one.made_of else EMPTY
        for fill_colour in "#FFFFFF", colour + "33":  # nothing of the lines shines through
            corner = x - width / 2, y - height / 2
            box(page, *corner, width, height, colour, facecolor=fill_colour, zorder=2)
        say(page, x, y + height / 2 + 0.1, str(one.shape[1]), size=8)
        if one.place[0] == 0:
            number = int(one.name.split()[1])
            end = places[f"up {downs - 1 - number}"][0]
            line = y + height * 0.3 * (number % 3 - 1)
            page.plot([x, end], [line, line], color=LATENT, lw=1.2, zorder=0)


def _thumbnails(page, rows: Sequence, features: Mapping[str, Tensor]) -> None:
    """What flows out of every row, side by side in the order of the walk."""
    step = 8.8 / len(rows)
    side = min(0.8, step - 0.04)
    for number, one in enumerate(rows):
        size = features[one.name].float().abs().mean(dim=0)
        x, y = 0.1 + step * (number + 0.5), 3.75
        tile(page, x - side / 2, y, side, side, numbers(size), **UNSIGNED, vmax=float(size.max()))
        if step > 0.4:
            say(page, x, y - 0.1, one.name.replace("middle", "mid"), **MONO)
            say(page, x, y + side + 0.1, f"{size.max():.2g}", **MONO)


def ablation(pictures: Mapping[str, Image.Image], parts: Mapping[str, Sequence[float]]) -> Figure:
    """Pictures side by side, {what was done: picture}, and bars of the error of each, in parts."""
    told = [
        ", ".join(f"{values[n]:.2g} {name}" for name, values in parts.items())
        for n in range(len(pictures))
    ]
    claim = "One skip cut at a time, and what that does to the clean-guess"
    alt = f"{claim}. Errors: {'; '.join(f'{k}: {v}' for k, v in zip(pictures, told))}."
    page, size = new_page(3.5, claim, alt), min(1.2, 8.0 / len(pictures) - 0.02)
    row(page, 0.85, 0.6, size, pictures.values(), list(pictures))
    axes = chart(page, 0.85, 0.75 + size, (size + 0.02) * len(pictures), 3.0 - size - 0.35)
    for (name, values), colour, side in zip(parts.items(), (SIGNAL, NOISE), (-0.2, 0.2)):
        places = np.arange(len(values)) + side
        hatch = "////" if side > 0 else None
        axes.bar(places, values, 0.36, color=colour, hatch=hatch, edgecolor="white", label=name)
    axes.set(xlim=(-0.5, len(pictures) - 0.5), xticks=[], ylabel="change (mean squared)")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return page.figure
