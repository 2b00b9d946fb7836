"""Every figure of the notebooks: tensors and pictures in, a matplotlib Figure out.

A figure is 9 inches wide, has a claim for a title and carries its alt text; `show` makes an HTML
image of it. Colours of lines and boxes mean a role (below), those of maps a number: PuOr, always
from -3 to 3. Places are in inches from the top left. The one file that knows matplotlib.
"""

import base64
import html
from collections.abc import Mapping, Sequence
from io import BytesIO
from textwrap import fill

import matplotlib
import numpy as np
from IPython.display import HTML
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from PIL import Image
from torch import Tensor

from .tokenizer import END, LENGTH, ROOM, START, Piece

PROMPT, EMPTY, NOISE, PIXEL, PAD = "#0072B2", "#595959", "#D55E00", "#E69F00", "#BDBDBD"
WIDTH, DPI, SMALL = 9.0, 100, 80_000  # inches; dots per inch; bytes of an image that is small
LIMIT = 3  # latents and text vectors have a standard deviation near 1
SIGNED = {"cmap": "PuOr", "vmin": -LIMIT, "vmax": LIMIT, "interpolation": "nearest"}
MONO = {"family": "monospace", "size": 8}
STAGES = ("tokenizer", "text encoder", "noise", "UNet", "sampler", "VAE decoder")  # pages 01 to 06
PLACES = ((0.95, 0.45), (2.35, 0.45), (2.35, 1.1), (4.0, 0.45), (5.6, 0.45), (7.0, 0.45))


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


def encoded(figure: Figure) -> bytes:
    """The figure as a PNG, or as a JPEG where the PNG would be above 80 kB."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    picture, quality = Image.open(buffer).convert("RGB"), 96
    while buffer.tell() > SMALL and quality > 40:
        buffer, quality = BytesIO(), quality - 4
        picture.save(buffer, format="jpeg", quality=quality, subsampling=0, optimize=True)
    return buffer.getvalue()


def show(figure: Figure | bytes, alt: str = "") -> HTML:
    """A figure, or the bytes of an image, as an HTML image with alt text, by default its own."""
    if isinstance(figure, Figure):
        figure, alt = encoded(figure), alt or figure.get_label()
    kind = "png" if figure.startswith(b"\x89PNG") else "jpeg"
    source = f"data:image/{kind};base64,{base64.b64encode(figure).decode()}"
    return HTML(f'<img alt="{html.escape(alt)}" src="{source}">')


def _page(height: float, claim: str, alt: str):
    """The canvas of a new figure, with its title; `page.figure` is the figure."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white", label=alt)
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(height, 0))
    page.axis("off")
    _say(page, 0.05, 0.17, claim, size=10, weight="bold", ha="left")
    return page


def _say(page, x: float, y: float, text: str, **style) -> None:
    page.text(x, y, text, **{"ha": "center", "va": "center", "parse_math": False} | style)


def _axes(page, x: float, y: float, width: float, height: float):
    w, h = page.figure.get_size_inches()
    return page.figure.add_axes((x / w, 1 - (y + height) / h, width / w, height / h))


def _tile(page, x: float, y: float, width: float, height: float, image, bar=False, **style) -> None:
    axes = _axes(page, x, y, width, height)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(EMPTY)
    drawn = axes.imshow(image, aspect="auto", **style)
    if bar:
        place = _axes(page, x + width + 0.15, y, 0.12, height)
        page.figure.colorbar(drawn, cax=place, ticks=[-LIMIT, 0, LIMIT])


def _box(page, x: float, y: float, width: float, height: float, colour: str, **style) -> None:
    style = {"edgecolor": colour, "facecolor": colour + "22", "lw": 1} | style
    page.add_patch(Rectangle((x, y), width, height, **style))


def _arrow(page, x: float, y: float, x_end: float, y_end: float) -> None:
    style = {"arrowstyle": "-|>", "mutation_scale": 8, "shrinkA": 0, "shrinkB": 0}
    page.add_patch(FancyArrowPatch((x, y), (x_end, y_end), color="#333333", lw=1.2, **style))


def _row(page, x: float, y: float, size: float, pictures: Sequence, labels: Sequence = ()) -> None:
    """Square pictures side by side, a label above each."""
    for number, picture in enumerate(pictures):
        left = x + (size + 0.02) * number
        _tile(page, left, y, size, size, picture)
        _say(page, left + size / 2, y - 0.09, labels[number] if labels else "", **MONO)


def pipeline_map(*lit: str) -> Figure:
    """The way from prompt to picture, the stages `lit` in colour, each with the page about it."""
    alt = f"The way from prompt to picture: {', '.join(STAGES)}. In colour: {', '.join(lit)}."
    page = _page(1.75, "From a prompt to a picture", alt)
    for number, (name, (x, y)) in enumerate(zip(STAGES, PLACES), start=1):
        _box(page, x, y, 1.1, 0.4, PROMPT if name in lit else PAD, lw=1.5)
        _say(page, x + 0.55, y + 0.2, name, weight="bold" if name in lit else None)
        _say(page, x + 0.55, y + 0.52, f"page {number:02}", size=8, color=EMPTY)
    _say(page, 0.4, 0.65, "prompt")
    _say(page, 8.6, 0.65, "picture")
    for x, end in (0.7, 0.95), (2.05, 2.35), (3.45, 4.0), (5.1, 5.6), (6.7, 7.0), (8.1, 8.3):
        _arrow(page, x, 0.6, end, 0.6)
    _arrow(page, 5.6, 0.73, 5.1, 0.73)  # back for the next step
    _arrow(page, 3.45, 1.35, 4.25, 0.87)  # the noise goes in
    _say(page, 5.35, 1.05, "again\nand again", size=8, color=EMPTY)
    return page.figure


def ribbon(pieces, context: Tensor, noise: Tensor, guesses: Mapping, picture, ms) -> Figure:
    """The whole trip: words, vectors [77, D], noise [4, h, w], clean-guesses, picture.

    guesses: {step: picture}, the last step last; ms: those of `probe.stopwatch`.
    """
    claim = f"{max(guesses)} small corrections turn noise into the picture"
    alt = f"{len(pieces)} tokens, their vectors, noise, clean-guesses, picture. {claim}."
    page = _page(3.0, claim, alt)
    words = [piece.text.removesuffix("</w>")[:12] for piece in pieces[:7]]
    for number, word in enumerate([*words, f"+ {LENGTH - len(words)} more"]):
        y = 0.45 + 0.23 * number
        _box(page, 0.05, y, 1.0, 0.2, PROMPT if number < len(words) else PAD, lw=0.8)
        _say(page, 0.55, y + 0.1, word, **MONO)
    _tile(page, 1.4, 0.45, 0.95, 1.81, numbers(context), **SIGNED)
    for x, y, channel in zip((2.7, 3.13, 2.7, 3.13), (0.93, 0.93, 1.36, 1.36), noise):
        _tile(page, x, y, 0.41, 0.41, numbers(channel), **SIGNED)
    _row(page, 3.86, 1.0, 0.74, guesses.values(), [f"step {step}" for step in guesses])
    page.plot([3.86, 3.86, 7.64, 7.64], [0.78, 0.7, 0.7, 0.78], color=NOISE, lw=1.2)
    _say(page, 5.75, 0.55, f"UNet, {max(guesses)} times", color=NOISE)
    _row(page, 7.95, 0.87, 1.0, [picture])
    for x in (1.1, 2.4, 3.61, 7.69):
        _arrow(page, x, 1.37, x + 0.22, 1.37)
    feet = {
        0.55: f"prompt\nids [{LENGTH}]",
        1.87: f"vectors\n{list(context.shape)}\n{ms['text encoder']:.0f} ms",
        3.12: f"noise\n{list(noise.shape)}",
        5.75: f"clean-guesses\n{list(noise.shape)}, decoded\n{ms['UNet']:.0f} ms",
        8.45: f"picture\n{picture.width} x {picture.height}\n{ms['VAE decoder']:.0f} ms",
    }
    for x, text in feet.items():
        _say(page, x, 2.4, text, **MONO, va="top", linespacing=1.5)
    return page.figure


def token_chips(pieces: Sequence[Piece]) -> Figure:
    """A prompt's pieces and ids between start and end; what is cut off is struck out.

    The pieces of one word touch each other.
    """
    kept, cut = min(len(pieces), ROOM), len(pieces[ROOM:])
    claim = f"{kept} of {ROOM} places used, {cut} tokens cut off"
    chips = [(Piece("start</w>", START), EMPTY), *((piece, PROMPT) for piece in pieces[:ROOM])]
    chips += [(Piece("end</w>", END), EMPTY)] + [(piece, NOISE) for piece in pieces[ROOM:]]
    chips += [(Piece(f"+ {ROOM - kept} x end</w>", END), PAD)] if kept < ROOM else []
    places, x, y = [], 0.05, 0.4
    for piece, _ in chips:
        text = piece.text.removesuffix("</w>")
        width = 0.075 * max(len(text), len(str(piece.id))) + 0.12
        if x + width > WIDTH - 0.05:
            x, y = 0.05, y + 0.52
        places.append((x, y, width, text))
        x += width + (0.07 if piece.text.endswith("</w>") else 0)
    page = _page(y + 0.5, claim, f"Prompt as a row of tokens with their ids: {claim}.")
    for (piece, colour), (x, y, width, text) in zip(chips, places):
        _box(page, x, y, width, 0.42, colour, hatch="////" if colour == PAD else None)
        _say(page, x + width / 2, y + 0.14, text, family="monospace")
        _say(page, x + width / 2, y + 0.31, str(piece.id), **MONO, color=EMPTY)
        if colour == NOISE:
            page.plot([x, x + width], [y + 0.14, y + 0.14], color=NOISE, lw=1)
    return page.figure


def embedding_map(context: Tensor, pieces: Sequence[Piece]) -> Figure:
    """The prompt as vectors [77, D]: one column a slot, from the start token to the padding."""
    values, slot = numbers(context).T, 7.9 / LENGTH
    claim = f"The prompt is now {LENGTH} vectors of {len(values)} numbers"
    largest = f"largest number {np.abs(values).max():.1f}, the colours end at {LIMIT}"
    page = _page(3.2, claim, f"Heat map, one column a token. {claim}; {largest}.")
    _tile(page, 0.5, 0.95, 7.9, 1.95, values, bar=True, **SIGNED)
    names = ["start", *(p.text.removesuffix("</w>")[:9] for p in pieces[:ROOM]), "end"]
    for x, name in enumerate(names):
        style = MONO | {"color": EMPTY if x in (0, len(names) - 1) else PROMPT, "rotation": 90}
        _say(page, 0.5 + (x + 0.5) * slot, 0.93, name, va="bottom", **style)
    if len(names) < LENGTH - 25:
        _say(page, 0.7 + len(names) * slot, 0.82, "the end token again: padding", ha="left")
    _say(page, 0.3, 1.93, f"{len(values)} numbers", rotation=90)
    _say(page, 4.45, 3.05, f"slots 0 to {LENGTH - 1}; {largest}")
    return page.figure


def latent_tiles(latents: Tensor, claim: str) -> Figure:
    """The four channels of latents [4, h, w] side by side, on one scale."""
    spread = numbers(latents).std()
    page = _page(2.4, claim, f"{claim}. Heat maps, standard deviation {spread:.2f}.")
    for number, channel in enumerate(numbers(latents)):
        _tile(page, 0.3 + number * 2.05, 0.4, 1.76, 1.76, channel, bar=number == 3, **SIGNED)
        _say(page, 1.18 + number * 2.05, 2.28, f"channel {number}")
    return page.figure


def picture_rows(rows: Mapping[str, Sequence], labels: Sequence[str], claim: str) -> Figure:
    """Rows of pictures, {name: pictures}, with a label above each column, ten to a line."""
    across = min(len(labels), 10)
    size, lines = min(1.28 if across > 2 else 2.56, 8.4 / across - 0.02), -(-len(labels) // across)
    left = min(WIDTH - (size + 0.02) * across, 0.15 + 0.075 * max(map(len, rows)))
    height = (size + 0.02) * len(rows) + 0.3
    page = _page(0.25 + height * lines, claim, f"{claim}. {'; '.join(rows)}: {', '.join(labels)}.")
    for number, (name, pictures) in enumerate([*rows.items()] * lines):
        line, row = divmod(number, len(rows))
        y, part = 0.5 + height * line + (size + 0.02) * row, slice(line * 10, line * 10 + 10)
        _say(page, left - 0.08, y + size / 2, fill(name, int(left / 0.08)), ha="right")
        _row(page, left, y, size, pictures[part], labels[part] if row == 0 else ())
    return page.figure


def time_bars(runs: Mapping[str, Mapping[str, float]], claim: str) -> Figure:
    """One bar of milliseconds a run, one colour a part; the numbers stand below it."""
    told = [", ".join(f"{part} {ms:.0f} ms" for part, ms in run.items()) for run in runs.values()]
    scale = 7.9 / max(sum(run.values()) for run in runs.values())
    page = _page(0.4 + 0.6 * len(runs), claim, f"{claim}. Bars: {'; '.join(told)}.")
    for number, (name, run) in enumerate(runs.items()):
        x, y = 0.95, 0.4 + 0.6 * number
        _say(page, 0.05, y + 0.14, name, ha="left")
        _say(page, x, y + 0.38, told[number], **MONO, ha="left")
        for ms, colour in zip(run.values(), (PROMPT, NOISE, PIXEL, PAD)):
            _box(page, x, y, ms * scale, 0.28, "#333333", facecolor=colour)
            x += ms * scale
    return page.figure
