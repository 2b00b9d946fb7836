"""Figures that every page uses: latents, rows of pictures, bars of time."""

from collections.abc import Mapping, Sequence
from textwrap import fill

from matplotlib.figure import Figure
from torch import Tensor

from .canvas import (
    MONO,
    NOISE,
    PAD,
    PIXEL,
    PROMPT,
    SIGNED,
    WIDTH,
    box,
    new_page,
    numbers,
    row,
    say,
    tile,
)


def latent_tiles(latents: Tensor, claim: str) -> Figure:
    """The four channels of latents [4, h, w] side by side, on one scale."""
    spread = numbers(latents).std()
    page = new_page(2.4, claim, f"{claim}. Heat maps, standard deviation {spread:.2f}.")
    for number, channel in enumerate(numbers(latents)):
        tile(page, 0.3 + number * 2.05, 0.4, 1.76, 1.76, channel, bar=number == 3, **SIGNED)
        say(page, 1.18 + number * 2.05, 2.28, f"channel {number}")
    return page.figure


def picture_rows(rows: Mapping[str, Sequence], labels: Sequence[str], claim: str) -> Figure:
    """Rows of pictures, {name: pictures}, with a label above each column, ten to a line."""
    across = min(len(labels), 10)
    longest = max(len(word) for name in rows for word in name.split(" "))
    room = WIDTH - max(0.6, 0.16 + 0.085 * longest)
    size, lines = min(1.28 if across > 2 else 2.56, room / across - 0.02), -(-len(labels) // across)
    left = min(WIDTH - (size + 0.02) * across, 0.15 + 0.075 * max(map(len, rows)))
    height = (size + 0.02) * len(rows) + 0.3
    alt = f"{claim}. {'; '.join(rows)}: {', '.join(labels)}."
    page = new_page(0.25 + height * lines, claim, alt)
    for number, (name, pictures) in enumerate([*rows.items()] * lines):
        line, which = divmod(number, len(rows))
        y, part = 0.5 + height * line + (size + 0.02) * which, slice(line * 10, line * 10 + 10)
        say(page, left - 0.08, y + size / 2, fill(name, int(left / 0.08)), ha="right")
        row(page, left, y, size, pictures[part], labels[part] if which == 0 else ())
    return page.figure


def time_bars(runs: Mapping[str, Mapping[str, float]], claim: str) -> Figure:
    """One bar of milliseconds a run, one colour a part; the numbers stand below it."""
    told = [", ".join(f"{part} {ms:.0f} ms" for part, ms in run.items()) for run in runs.values()]
    scale = 7.9 / max(sum(run.values()) for run in runs.values())
    page = new_page(0.4 + 0.6 * len(runs), claim, f"{claim}. Bars: {'; '.join(told)}.")
    for number, (name, run) in enumerate(runs.items()):
        x, y = 0.95, 0.4 + 0.6 * number
        say(page, 0.05, y + 0.14, name, ha="left")
        say(page, x, y + 0.38, told[number], **MONO, ha="left")
        for ms, colour in zip(run.values(), (PROMPT, NOISE, PIXEL, PAD)):
            box(page, x, y, ms * scale, 0.28, "#333333", facecolor=colour)
            x += ms * scale
    return page.figure
