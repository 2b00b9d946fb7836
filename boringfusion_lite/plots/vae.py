"""Figures about pixels and latents: 48 times fewer, the cloud, the decoder's walk, a footprint."""

from collections.abc import Mapping

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw
from torch import Tensor

from .canvas import (
    EMPTY,
    LATENT,
    MONO,
    PIXEL,
    SIGNED,
    UNSIGNED,
    WIDTH,
    arrow,
    axes_at,
    box,
    chart,
    new_page,
    numbers,
    say,
    signed_rgb,
    tile,
)

EDGE = "#333333"  # around light colours
LINES = [(EDGE, "-"), (PIXEL, "--"), (EMPTY, ":")]


def fewer(
    picture: Image.Image, latents: Tensor, decoded: Image.Image, error: Tensor, cell: tuple
) -> Figure:
    """A picture under the grid of its cells, its latents [4, h, w], what they decode to, the error.

    error: [H, W], mean difference of the colours. cell: (row, column) of the one drawn large.
    """
    height, _ = latents.shape[-2:]
    side = picture.height // height
    many, few = 3 * side**2, len(latents)
    claim = f"{many // few} times fewer numbers; the picture comes back {error.mean():.3f} off"
    alt = f"Picture under a grid, four latent maps, decoded picture, error map of 2. {claim}."
    page = new_page(4.2, claim, alt)
    _with_grid(page, 0.1, 0.62, 1.95, picture, side, cell)
    for number, channel in enumerate(latents[:4]):
        x, y = 2.45 + 1.0 * (number % 2), 0.62 + 1.0 * (number // 2)
        tile(page, x, y, 0.95, 0.95, numbers(channel), **SIGNED)
    tile(page, 4.8, 0.62, 1.95, 1.95, decoded)
    tile(page, 6.85, 0.62, 1.4, 1.4, numbers(error), bar=True, **UNSIGNED)
    names = ((1.07, f"picture {picture.width} x {picture.height}"), (3.42, "latents"))
    for x, name in (*names, (5.77, "decoded"), (7.55, "error")):
        say(page, x, 0.48, name)
    say(page, 7.55, 2.2, f"mean {error.mean():.3f} of 2", **MONO)
    arrow(page, 2.12, 1.6, 2.4, 1.6)
    arrow(page, 4.47, 1.6, 4.75, 1.6)
    _cell_as_numbers(page, picture, latents, side, cell)
    return page.figure


def _with_grid(page, x: float, y: float, size: float, picture, side: int, cell: tuple) -> None:
    """A picture with a line around every cell, and a strong one around the one in question."""
    axes = axes_at(page, x, y, size, size)
    axes.set(xticks=[], yticks=[])
    axes.imshow(picture)
    thin = {"color": "white", "lw": min(0.4, 6.4 * side / picture.width), "alpha": 0.7}
    for place in range(side, picture.width, side):
        axes.axvline(place - 0.5, **thin)
        axes.axhline(place - 0.5, **thin)
    corner = cell[1] * side - 0.5, cell[0] * side - 0.5
    for colour, width in ((EDGE, 4), (PIXEL, 2)):
        axes.add_patch(Rectangle(corner, side, side, fill=False, ec=colour, lw=width))


def _cell_as_numbers(page, picture, latents: Tensor, side: int, cell: tuple) -> None:
    """The lower part of `fewer`: one cell's pixels, and the numbers that stand for them."""
    row, column = cell
    left, top = column * side, row * side
    pixels = picture.crop((left, top, left + side, top + side))
    tile(page, 0.8, 2.8, 1.25, 1.25, pixels, interpolation="nearest")
    box(page, 0.8, 2.8, 1.25, 1.25, EDGE, facecolor="none", lw=5, zorder=5)
    box(page, 0.8, 2.8, 1.25, 1.25, PIXEL, facecolor="none", lw=3, zorder=6)
    say(page, 0.38, 3.42, f"cell\n({row}, {column})\nlarge")
    say(page, 3.2, 3.22, f"{side} x {side} x 3 = {3 * side**2} numbers")
    arrow(page, 2.35, 3.42, 4.2, 3.42)
    for number, value in enumerate(latents[:, row, column]):
        x, colour = 4.5 + 0.8 * number, signed_rgb(value.reshape(1, 1))[0, 0] / 255
        box(page, x, 3.07, 0.7, 0.7, EDGE, facecolor=LATENT, lw=1)
        box(page, x + 0.07, 3.14, 0.56, 0.56, EDGE, facecolor=colour, lw=0.6)
        far = abs(value.item()) > 2
        say(page, x + 0.35, 3.42, f"{value:+.2f}", **MONO, color="white" if far else "black")
    say(page, 4.45 + 0.4 * len(latents), 3.95, f"{len(latents)} numbers")


def cloud(mean: Tensor, spread: Tensor, claim: str) -> Figure:
    """A picture as a small cloud of latents: mean and standard deviation, each [4, h, w]."""
    told = ", ".join(f"{channel.mean():.3f}" for channel in spread)
    page = new_page(4.2, claim, f"{claim}. Maps of mean and spread; mean spread {told}.")
    top = {"vmax": max(spread.max().item(), 1e-6)}
    for number, (middle, width) in enumerate(zip(numbers(mean), numbers(spread))):
        x, last = 0.75 + number * 1.93, number == len(mean) - 1
        say(page, x + 0.83, 0.46, f"channel {number}")
        tile(page, x, 0.58, 1.66, 1.66, middle, bar=last, **SIGNED)
        tile(page, x, 2.34, 1.66, 1.66, width, bar=last, **UNSIGNED, **top)
        say(page, x + 0.83, 4.1, f"mean {width.mean():.3f}", **MONO)
    say(page, 0.35, 1.4, "mean")
    say(page, 0.35, 3.17, "spread\n(std)")
    return page.figure


def decoder_walk(maps: Mapping[str, Tensor], picture: Image.Image, claim: str) -> Figure:
    """Feature maps {name: [1, C, h, w]} in order and the picture, with shapes and largest values.

    Each map shows the root mean square over its channels, from 0 to its own maximum.
    """
    told = "; ".join(f"{name} {list(x.shape[1:])}" for name, x in maps.items())
    page = new_page(2.4, claim, f"{claim}. Maps from small to large: {told}.")
    full = max(x.shape[-1] for x in maps.values())
    sizes = [max(0.62, 1.22 * (x.shape[-1] / full) ** 0.6) for x in maps.values()]
    gap = (WIDTH - 0.2 - sum(sizes)) / (len(sizes) - 1)
    x = 0.1
    for (name, values), size in zip(maps.items(), sizes):
        y, shape = 1.12 - size / 2, " x ".join(map(str, values.shape[1:]))
        energy = numbers(values[0]).astype("float64")
        energy = (energy**2).mean(axis=0) ** 0.5
        last = name == list(maps)[-1]
        image, style = (picture, {}) if last else (energy, UNSIGNED | {"vmax": energy.max()})
        tile(page, x, y, size, size, image, **style)
        say(page, x + size / 2, 0.4, name, size=8)
        say(page, x + size / 2, 1.88, shape.replace(" x ", "x"), **MONO)
        say(page, x + size / 2, 2.08, "" if last else f"max {energy.max():.1f}", **MONO)
        x += size + gap
    return page.figure


def footprint_map(change: Tensor, cell: tuple[int, int], side: int) -> Image.Image:
    """A map of changes [H, W] from 0 to its peak, the box of its cell drawn in; for `strip`."""
    values = numbers(change)
    colours = matplotlib.colormaps["cividis"](values / max(values.max(), 1e-9), bytes=True)
    picture, (row, column) = Image.fromarray(colours[..., :3]), cell
    around = [column * side - 1, row * side - 1, (column + 1) * side, (row + 1) * side]
    ImageDraw.Draw(picture).rectangle(around, outline=PIXEL)
    return picture


def footprints(changes: Mapping[str, tuple[Tensor, tuple[int, int]]], side: int, claim: str):
    """Where the picture changes when one cell does: {name: (change [H, W], (row, column))}.

    Maps as shares of their peaks, with the cell's own box; beside them the profile from left to
    right, the largest change of every column of pixels, on a logarithmic axis.
    """
    alt = f"{claim}. Maps of the change and its profile, log axis: {', '.join(changes)}."
    page = new_page(2.75, claim, alt)
    chart_axes = chart(page, 6.45, 0.5, 2.4, 1.65, yscale="log", ylim=(1e-3, 1.4))
    chart_axes.set(xlabel="pixels right of the cell's middle", ylabel="share of the peak")
    chart_axes.axvspan(-side / 2, side / 2, color=PIXEL, alpha=0.35, lw=0)
    for number, (name, (change, (row, column))) in enumerate(changes.items()):
        values, x = numbers(change), 0.1 + 1.75 * number
        values, (colour, dash) = values / values.max(), LINES[number % len(LINES)]
        page.plot([x, x + 0.4], [0.48, 0.48], color=colour, ls=dash, lw=1.6)
        say(page, x + 0.5, 0.48, name, ha="left")
        axes = axes_at(page, x, 0.62, 1.66, 1.66)
        axes.set(xticks=[], yticks=[])
        drawn = axes.imshow(values, **UNSIGNED, vmax=1)
        corner = column * side - 0.5, row * side - 0.5
        axes.add_patch(Rectangle(corner, side, side, fill=False, ec=PIXEL, lw=1.5))
        places = [p + 0.5 - (column + 0.5) * side for p in range(values.shape[1])]
        chart_axes.plot(places, values.max(axis=0), color=colour, ls=dash, lw=1.4)
    page.figure.colorbar(drawn, cax=axes_at(page, x + 1.76, 0.62, 0.1, 1.66), ticks=[0, 0.5, 1])
    half = len(values) / 2
    chart_axes.set_xlim(-half, half)
    for share in (0.1, 0.01):
        chart_axes.axhline(share, color="black", ls=":", lw=1)
        chart_axes.text(half, share, f"{share:.0%}", size=8, ha="right", va="bottom")
    say(page, 0.1, 2.5, "orange: the cell's own pixels", ha="left", color=EDGE)
    return page.figure
