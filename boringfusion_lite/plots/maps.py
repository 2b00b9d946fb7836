"""Maps on one scale with one bar: never each stretched to its own maximum."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from textwrap import fill

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .canvas import MONO, SIGNED, UNSIGNED, axes_at, new_page, numbers, say, tile


def map_grid(
    rows: Mapping[str, Sequence], labels: Sequence[str], claim: str, what: str, signed: bool = False
) -> Figure:
    """Maps [h, w], all on one scale with one bar, in named rows under labels.

    Pictures and None may be among them. what: the unit of the scale. signed: PuOr around 0 instead
    of cividis from 0.
    """
    style = _one_scale([one for ones in rows.values() for one in ones], signed)
    left = 0.15 + 0.075 * min(16, max(map(len, rows)))
    size = min(1.2, (8.2 - left) / len(labels) - 0.04)
    alt = f"{claim}. Maps of {what}, one scale to {style['vmax']:.2g}: {', '.join(labels)}."
    page = new_page(0.65 + (size + 0.06) * len(rows), claim, alt)
    for line, (name, ones) in enumerate(rows.items()):
        y = 0.58 + (size + 0.06) * line
        say(page, left - 0.08, y + size / 2, fill(name, 16), ha="right", size=8)
        for column, one in enumerate(ones):
            x = left + (size + 0.04) * column
            _map(page, x, y, size, one, style)
    for column, label in enumerate(labels):
        x = left + (size + 0.04) * column + size / 2
        say(page, x, 0.45, fill(label, int(size / 0.07)), **MONO)
    x = left + (size + 0.04) * len(labels) + 0.05
    bar(page, x, 0.58, min(1.6, (size + 0.06) * len(rows) - 0.06), style)
    say(page, 8.95, 0.17, f"colour: {what}", ha="right", size=8)
    return page.figure


def word_maps(maps: Sequence, labels: Sequence[str], claim: str, what: str) -> Figure:
    """Maps [h, w] and pictures, seven to a line, each with its label: one scale, one bar."""
    style, lines = _one_scale(maps), -(-len(maps) // 7)
    alt = f"{claim}. Maps of {what}, one scale to {style['vmax']:.2g}: {'; '.join(labels)}."
    page = new_page(0.35 + 1.42 * lines, claim, alt)
    for number, (one, label) in enumerate(zip(maps, labels)):
        line, column = divmod(number, 7)
        x, y = 0.05 + 1.19 * column, 0.55 + 1.42 * line
        say(page, x + 0.57, y - 0.11, label, **MONO)
        _map(page, x, y, 1.14, one, style)
    bar(page, 8.45, 0.55, 1.14, style)
    say(page, 8.95, 0.17, f"colour: {what}", ha="right", size=8)
    return page.figure


def _one_scale(maps: Sequence, signed: bool = False) -> dict:
    """The one style for all maps among what is to be drawn: up to the largest number of all."""
    top = max(float(numbers(one).max()) for one in maps if isinstance(one, Tensor))
    if not signed:
        return dict(UNSIGNED, vmax=top)
    low = min(float(numbers(one).min()) for one in maps if isinstance(one, Tensor))
    return dict(SIGNED, vmin=-max(top, -low), vmax=max(top, -low))


def _map(page, x: float, y: float, size: float, one, style: dict) -> None:
    if isinstance(one, Tensor):
        tile(page, x, y, size, size, numbers(one), **style)
    elif one is not None:
        tile(page, x, y, size, size, one)


def bar(page, x: float, y: float, height: float, style: dict) -> None:
    """A colour bar for maps drawn in the style."""
    scale = matplotlib.colors.Normalize(style["vmin"], style["vmax"])
    drawn = matplotlib.cm.ScalarMappable(scale, style["cmap"])
    page.figure.colorbar(drawn, cax=axes_at(page, x, y, 0.1, height)).ax.tick_params(labelsize=8)


def heat(map_: Tensor, top: float) -> Image.Image:
    """A map [h, w] of sizes from 0 to `top` in cividis, one pixel a cell; for `strip`."""
    colours = matplotlib.colormaps["cividis"](numbers(map_) / max(top, 1e-9), bytes=True)
    return Image.fromarray(colours[..., :3])


def heat_bar(top: float, what: str, side: int = 256) -> Image.Image:
    """The colour bar of `heat` as a square picture, for `strip`."""
    sheet = Image.new("RGB", (side, side), "white")
    steps = np.linspace(top, 0, side - 40)[:, None]
    drawn = matplotlib.colormaps["cividis"](steps / max(top, 1e-9), bytes=True)[..., :3]
    sheet.paste(Image.fromarray(drawn).resize((24, side - 40)), (8, 30))
    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    pen, font = ImageDraw.Draw(sheet), ImageFont.truetype(BytesIO(font.read_bytes()), 12)
    pen.text((8, 8), what, "black", font)
    for place, value in ((30, top), (side // 2 + 4, top / 2), (side - 18, 0)):
        pen.text((40, place), f"{value:.2g}", "black", font)
    return sheet
