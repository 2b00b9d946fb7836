"""The canvas of every figure: house colours, type, and the parts that figures are made of.

A figure is 9 inches wide, has a claim for a title and carries its alt text; `show` makes an HTML
image of it. Colours of lines and boxes mean a role (below), those of maps a number: PuOr, always
from -3 to 3, for signed ones, cividis from 0 for sizes. Places are in inches from the top left.
"""

import base64
import html
from collections.abc import Sequence
from io import BytesIO

import matplotlib
import numpy as np
from IPython.display import HTML
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from PIL import Image, ImageFile
from torch import Tensor

PROMPT, EMPTY, NOISE, PIXEL, PAD = "#0072B2", "#595959", "#D55E00", "#E69F00", "#BDBDBD"
SIGNAL, GUIDANCE, LATENT = "#009E73", "#CC79A7", "#56B4E9"
WIDTH, DPI, SMALL = 9.0, 100, 80_000  # inches; dots per inch; bytes of an image that is small
LINE_ART = 4000  # colours that a figure without pictures has at most
LIMIT = 3  # latents and text vectors have a standard deviation near 1
SIGNED = {"cmap": "PuOr", "vmin": -LIMIT, "vmax": LIMIT, "interpolation": "nearest"}
UNSIGNED = {"cmap": "cividis", "vmin": 0, "interpolation": "nearest"}
MONO = {"family": "monospace", "size": 8}


def use_style() -> None:
    """Type and line of the house; one call at the top of a page."""
    matplotlib.rc("font", family="DejaVu Sans", size=9)
    matplotlib.rc("hatch", linewidth=0.4)


def numbers(x: Tensor) -> np.ndarray:
    """Any tensor -> float32 array on the CPU."""
    return x.detach().float().cpu().numpy()


def signed_rgb(x: Tensor) -> np.ndarray:
    """A map [H, W] of signed numbers -> uint8 [H, W, 3]: purple above 0, orange below, white 0."""
    return matplotlib.colormaps["PuOr"](numbers(x) / LIMIT / 2 + 0.5, bytes=True)[..., :3]


def encoded(figure: Figure, small: int = SMALL) -> bytes:
    """The figure as a PNG, or as a JPEG where the PNG would be above `small` bytes.

    Line art, which has few colours, is stored with a palette of 256: half the bytes, no difference.
    """
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    picture, quality = Image.open(buffer).convert("RGB"), 96
    if picture.getcolors(LINE_ART):
        buffer = BytesIO()
        picture.quantize(256, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True)
    room = 4 * picture.width * picture.height  # Pillow's own guess is too small for noise
    ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, room)
    while buffer.tell() > small and quality > 40:
        buffer, quality = BytesIO(), quality - 4
        picture.save(buffer, format="jpeg", quality=quality, subsampling=0, optimize=True)
    return buffer.getvalue()


def show(figure: Figure | bytes, alt: str = "", small: int = SMALL) -> HTML:
    """A figure, or the bytes of an image, as an HTML image with alt text, by default its own.

    small: bytes that a figure may have as a PNG; pictures of noise are as good as a smaller JPEG.
    """
    if isinstance(figure, Figure):
        figure, alt = encoded(figure, small), alt or figure.get_label()
    kind = "png" if figure.startswith(b"\x89PNG") else "jpeg"
    source = f"data:image/{kind};base64,{base64.b64encode(figure).decode()}"
    return HTML(f'<img alt="{html.escape(alt)}" src="{source}">')


def strip(pictures: Sequence, side: int = 256, gap: int = 16) -> bytes:
    """Pictures side by side as a PNG, without matplotlib and so in a few milliseconds.

    A picture is a PIL image or a map [H, W] of signed numbers, shown like all of them.
    """
    buffer = BytesIO()
    _side_by_side(pictures, side, gap).save(buffer, format="png", compress_level=1)
    return buffer.getvalue()


def film(pictures: Sequence, side: int = 256) -> bytes:
    """The pictures as `strip` shows them, but as a JPEG: a fifth of the bytes."""
    buffer, sheet = BytesIO(), _side_by_side(pictures, side, 16)
    sheet.save(buffer, format="jpeg", quality=88, subsampling=0, optimize=True)
    return buffer.getvalue()


def _side_by_side(pictures: Sequence, side: int, gap: int) -> Image.Image:
    """Pictures as squares of `side` pixels on one white sheet; small ones keep sharp cells."""
    sheet = Image.new("RGB", ((side + gap) * len(pictures) - gap, side), "white")
    for number, picture in enumerate(pictures):
        if isinstance(picture, Tensor):
            picture = Image.fromarray(signed_rgb(picture))
        whole = side % picture.width == 0
        method = Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS
        sheet.paste(picture.resize((side, side), method), ((side + gap) * number, 0))
    return sheet


def new_page(height: float, claim: str, alt: str):
    """The canvas of a new figure, with its title; `page.figure` is the figure."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white", label=alt)
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(height, 0))
    page.axis("off")
    say(page, 0.05, 0.17, claim, size=10, weight="bold", ha="left")
    return page


def say(page, x: float, y: float, text: str, **style) -> None:
    """Words on the page, centred at a place unless the style says otherwise."""
    page.text(x, y, text, **{"ha": "center", "va": "center", "parse_math": False} | style)


def axes_at(page, x: float, y: float, width: float, height: float):
    """Axes of their own on the page."""
    w, h = page.figure.get_size_inches()
    return page.figure.add_axes((x / w, 1 - (y + height) / h, width / w, height / h))


def tile(page, x: float, y: float, width: float, height: float, image, bar=False, **style) -> None:
    """A picture or a map, framed; with a colour bar where asked for."""
    axes = axes_at(page, x, y, width, height)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(EMPTY)
    drawn = axes.imshow(image, aspect="auto", **style)
    if bar:
        place = axes_at(page, x + width + 0.15, y, 0.12, height)
        ticks = [-LIMIT, 0, LIMIT] if style.get("cmap") == SIGNED["cmap"] else None
        page.figure.colorbar(drawn, cax=place, ticks=ticks)


def box(page, x: float, y: float, width: float, height: float, colour: str, **style) -> None:
    """A rectangle in the colour of a role, lightly filled."""
    style = {"edgecolor": colour, "facecolor": colour + "22", "lw": 1} | style
    page.add_patch(Rectangle((x, y), width, height, **style))


def arrow(page, x: float, y: float, x_end: float, y_end: float) -> None:
    """A thin dark arrow."""
    style = {"arrowstyle": "-|>", "mutation_scale": 8, "shrinkA": 0, "shrinkB": 0}
    page.add_patch(FancyArrowPatch((x, y), (x_end, y_end), color="#333333", lw=1.2, **style))


def row(page, x: float, y: float, size: float, pictures: Sequence, labels: Sequence = ()) -> None:
    """Square pictures side by side, a label above each."""
    for number, picture in enumerate(pictures):
        left = x + (size + 0.02) * number
        tile(page, left, y, size, size, picture)
        say(page, left + size / 2, y - 0.09, labels[number] if labels else "", **MONO)


def chart(page, x: float, y: float, width: float, height: float, **labels):
    """Axes for lines: no frame on top and right, a light grid; labels as in `Axes.set`."""
    axes = axes_at(page, x, y, width, height)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, lw=0.6)
    axes.set(**labels)
    return axes
