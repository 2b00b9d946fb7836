"""Figures of page 11: errors by timestep, what each timestep counts, pictures kept in files."""

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO

from matplotlib.figure import Figure
from PIL import Image

from .canvas import EMPTY, GUIDANCE, NOISE, PROMPT, SIGNAL, chart, new_page, say

LOOKS = [(PROMPT, "-"), (NOISE, "--"), (SIGNAL, "-."), (GUIDANCE, ":"), (EMPTY, (0, (6, 2, 1, 2)))]
Curves = Mapping[str, Sequence[float]]


def kept_pictures(film: str, gap: int = 16) -> list[Image.Image]:
    """The square pictures of a `plots.film` that a file keeps as base64."""
    sheet = Image.open(BytesIO(base64.b64decode(film))).convert("RGB")
    side = sheet.height
    starts = range(0, sheet.width, side + gap)
    return [sheet.crop((left, 0, left + side, side)) for left in starts]


def by_timestep(
    timesteps: Sequence[int],
    panels: Mapping[str, Curves],
    claim: str,
    *,
    floor: float | None = None,
    dotted: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """Curves over t, one chart a panel: {what is measured: {name: values at the timesteps}}.

    dotted: black curves to compare with, in the first panel, {name: values}; floor: where the
    logarithmic axes begin.
    """
    told = "; ".join(
        f"{name} {min(v):.2g} to {max(v):.2g}" for p in panels.values() for name, v in p.items()
    )
    page = new_page(3.2, claim, f"{claim}. Line charts over the timestep: {told}.")
    wide = 7.9 / len(panels) - 0.45
    for number, (what, curves) in enumerate(panels.items()):
        left = 0.7 + (wide + 0.6) * number
        axes = chart(page, left, 0.6, wide, 2.05, xlabel="timestep t (noise grows to the right)")
        axes.set_title(what, fontsize=9, loc="left")
        axes.set_yscale("log")
        for (name, values), (colour, dash) in zip(curves.items(), LOOKS):
            axes.plot(timesteps, values, ls=dash, color=colour, lw=1.8, label=name)
        below = dotted if dotted and number == 0 else {}
        for (name, values), dash in zip(below.items(), (":", (0, (1, 1, 5, 1)))):
            axes.plot(timesteps, values, ls=dash, color="black", lw=1.3, label=name)
        axes.set_ylim(bottom=floor)
        axes.legend(frameon=False, fontsize=8, handlelength=3)
    return page.figure


def brightness(groups: Mapping[str, Mapping[str, Sequence[float]]], claim: str) -> Figure:
    """How bright pictures are, a dot each, {row: {kind: means in [-1, 1]}}."""
    means = [(row, kind, sum(v) / len(v)) for row, k in groups.items() for kind, v in k.items()]
    told = "; ".join(f"{row}, {kind}: {mean:.2f}" for row, kind, mean in means)
    page = new_page(0.95 + 0.42 * len(groups), claim, f"{claim}. Mean brightness: {told}.")
    axes = chart(page, 1.7, 0.6, 6.9, 0.42 * len(groups) - 0.1, xlim=(-1, 1))
    axes.set(yticks=[], ylim=(len(groups) - 0.5, -0.5), xlabel="mean of a picture, black to white")
    looks = ((PROMPT, "o"), (NOISE, "x"))
    for line, (row, kinds) in enumerate(groups.items()):
        say(page, 1.6, 0.6 + 0.42 * line + 0.17, row, ha="right")
        for values, (colour, mark) in zip(kinds.values(), looks):
            axes.plot(values, [line] * len(values), mark, color=colour, ms=6, alpha=0.7)
    for number, (kind, (colour, mark)) in enumerate(zip(next(iter(groups.values())), looks)):
        say(page, 1.7 + 2.5 * number, 0.42, f"{mark} {kind}", color=colour, size=8, ha="left")
    return page.figure
