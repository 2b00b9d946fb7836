"""Every figure of the notebooks: tensors and pictures in, a matplotlib Figure out.

A figure is 9 inches wide, has a claim for a title and carries its alt text; `show` makes an HTML
image of it. Colours of lines and boxes mean a role (below), those of maps a number: PuOr, always
from -3 to 3. This is the one file that knows matplotlib, and where pictures leave [-1, 1].
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

from .probe import TensorRow
from .tokenizer import END, LENGTH, ROOM, START, Piece

PROMPT, EMPTY, NOISE, CLEAN = "#0072B2", "#595959", "#D55E00", "#009E73"  # Okabe-Ito and a grey
GUIDANCE, LATENT, PIXEL, PAD = "#CC79A7", "#56B4E9", "#E69F00", "#BDBDBD"
WIDTH, DPI, SMALL = 9.0, 100, 100_000  # inches; dots per inch; bytes of a PNG that is small enough
LIMIT = 3  # latents and text vectors have a standard deviation near 1
SIGNED = {"cmap": "PuOr", "vmin": -LIMIT, "vmax": LIMIT, "interpolation": "nearest"}
MONO = {"family": "monospace", "size": 8}
STAGES = {  # the parts of the model: the page about each, and its place on the map in inches
    "tokenizer": ("01", 0.95, 0.45),
    "text encoder": ("02", 2.35, 0.45),
    "noise": ("03", 2.35, 1.1),
    "UNet": ("04", 4.0, 0.45),
    "sampler": ("05", 5.6, 0.45),
    "VAE decoder": ("06", 7.0, 0.45),
}


def use_style() -> None:
    """Type and line of the house; one call at the top of a page."""
    matplotlib.rcParams.update(
        {"font.family": "DejaVu Sans", "font.size": 9, "hatch.linewidth": 0.4}
    )


def numbers(x: Tensor) -> np.ndarray:
    """Any tensor -> float32 array on the CPU."""
    return x.detach().float().cpu().numpy()


def pixels(image: Image.Image | Tensor) -> np.ndarray:
    """A PIL picture, or a tensor [3, H, W] in [-1, 1], -> uint8 [H, W, 3]."""
    if isinstance(image, Tensor):
        image = ((numbers(image).transpose(1, 2, 0) + 1) * 127.5).round().clip(0, 255)
    return np.asarray(image, dtype=np.uint8)


def signed_rgb(x: Tensor) -> np.ndarray:
    """A map [H, W] of signed numbers -> uint8 [H, W, 3]: purple above 0, orange below, white 0."""
    return matplotlib.colormaps["PuOr"](numbers(x) / LIMIT / 2 + 0.5, bytes=True)[..., :3]


def png(figure: Figure) -> bytes:
    """The figure as a PNG; one above 100 kB is reduced to 256 colours."""
    buffer, small = BytesIO(), BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    if buffer.tell() <= SMALL:
        return buffer.getvalue()
    colours = Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    colours.save(small, format="png", optimize=True)
    return small.getvalue()


def show(figure: Figure | bytes, alt: str = "") -> HTML:
    """A figure, or the bytes of a PNG, as an HTML image with alt text, by default its own."""
    if isinstance(figure, Figure):
        figure, alt = png(figure), alt or figure.get_label()
    data = base64.b64encode(figure).decode()
    return HTML(f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">')


# ---- the parts of a figure: all places are in inches, (0, 0) is the top left ---------------------


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


def _tile(page, x: float, y: float, width: float, height: float, image, **style):
    axes = _axes(page, x, y, width, height)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(EMPTY)
    return axes.imshow(image, aspect="auto", **style)


def _value_bar(page, image, x: float, y: float, height: float) -> None:
    bar = page.figure.colorbar(image, cax=_axes(page, x, y, 0.12, height), ticks=[-LIMIT, 0, LIMIT])
    bar.ax.tick_params(labelsize=8, length=2)


def _box(page, x: float, y: float, width: float, height: float, colour: str, **style) -> None:
    style = {"edgecolor": colour, "facecolor": colour + "22", "lw": 1} | style
    page.add_patch(Rectangle((x, y), width, height, **style))


def _arrow(page, x: float, y: float, x_end: float, y_end: float) -> None:
    style = {"arrowstyle": "-|>", "mutation_scale": 8, "color": "#333333", "lw": 1.2}
    page.add_patch(FancyArrowPatch((x, y), (x_end, y_end), shrinkA=0, shrinkB=0, **style))


def _row(page, x: float, y: float, size: float, pictures: Sequence, labels: Sequence = ()) -> None:
    """Square pictures side by side, a label above each."""
    for number, picture in enumerate(pictures):
        left = x + (size + 0.02) * number
        _tile(page, left, y, size, size, pixels(picture))
        _say(page, left + size / 2, y - 0.09, labels[number] if labels else "", **MONO)


# ---- figures -------------------------------------------------------------------------------------


def pipeline_map(*lit: str) -> Figure:
    """The way from prompt to picture, the stages `lit` in colour, each with the page about it."""
    alt = f"The way from prompt to picture: {', '.join(STAGES)}. In colour: {', '.join(lit)}."
    page = _page(1.75, "From a prompt to a picture", alt)
    for name, (number, x, y) in STAGES.items():
        _box(page, x, y, 1.1, 0.4, PROMPT if name in lit else PAD, lw=1.5)
        _say(page, x + 0.55, y + 0.2, name, weight="bold" if name in lit else None)
        _say(page, x + 0.55, y + 0.52, f"page {number}", size=8, color=EMPTY)
    _say(page, 0.4, 0.65, "prompt")
    _say(page, 8.6, 0.65, "picture")
    for start, end in (0.7, 0.95), (2.05, 2.35), (3.45, 4.0), (6.7, 7.0), (8.1, 8.3):
        _arrow(page, start, 0.65, end, 0.65)
    _arrow(page, 3.45, 1.35, 4.25, 0.87)  # the noise goes in
    _arrow(page, 5.1, 0.58, 5.6, 0.58)
    _arrow(page, 5.6, 0.73, 5.1, 0.73)
    _say(page, 5.35, 1.05, "again\nand again", size=8, color=EMPTY)
    return page.figure


def ribbon(pieces, context: Tensor, noise: Tensor, guesses: Mapping, picture, ms) -> Figure:
    """The whole trip: words, vectors [77, D], noise [4, h, w], clean-guesses, picture.

    guesses: {step: picture}, the last step last; ms: those of `probe.stopwatch`.
    """
    claim = f"{max(guesses)} small corrections turn noise into the picture"
    alt = (
        f"Five panels: {len(pieces)} tokens, their vectors, noise, clean-guesses, picture. {claim}."
    )
    page = _page(3.0, claim, alt)
    names = [piece.text.removesuffix("</w>")[:12] for piece in pieces[:7]]
    for number, name in enumerate([*names, f"+ {LENGTH - len(names)} more"]):
        y = 0.45 + 0.23 * number
        _box(page, 0.05, y, 1.0, 0.2, PROMPT if number < len(names) else PAD, lw=0.8)
        _say(page, 0.55, y + 0.1, name, **MONO)
    _tile(page, 1.4, 0.45, 0.95, 1.81, numbers(context), **SIGNED)
    for x, y, channel in zip((2.7, 3.13, 2.7, 3.13), (0.93, 0.93, 1.36, 1.36), noise):
        _tile(page, x, y, 0.41, 0.41, numbers(channel), **SIGNED)
    _row(page, 3.86, 1.0, 0.74, guesses.values(), [f"step {step}" for step in guesses])
    page.plot([3.86, 3.86, 7.64, 7.64], [0.78, 0.7, 0.7, 0.78], color=NOISE, lw=1.2)
    _say(page, 5.75, 0.55, f"UNet, {max(guesses)} times", color=NOISE)
    _row(page, 7.95, 0.87, 1.0, [picture])
    for x in (1.1, 2.4, 3.61, 7.69):
        _arrow(page, x, 1.37, x + 0.22, 1.37)
    for x, part, what in (
        (0.55, "", f"prompt\nids [{LENGTH}]"),
        (1.87, "text encoder", f"vectors\n{list(context.shape)}"),
        (3.12, "", f"noise\n{list(noise.shape)}"),
        (5.75, "UNet", f"clean-guesses of the picture\nlatents {list(noise.shape)}, decoded"),
        (8.45, "VAE decoder", "picture\n{1} x {0} pixels".format(*pixels(picture).shape)),
    ):
        _say(page, x, 2.55, what, **MONO)
        _say(page, x, 2.82, f"{ms[part]:.0f} ms" if part else "", **MONO, color=EMPTY)
    return page.figure


def token_chips(pieces: Sequence[Piece]) -> Figure:
    """A prompt's pieces and ids between start and end; those cut off are struck out.

    The pieces of one word touch each other.
    """
    kept, cut = min(len(pieces), ROOM), len(pieces[ROOM:])
    chips = [(Piece("start</w>", START), EMPTY), *((piece, PROMPT) for piece in pieces[:ROOM])]
    chips += [(Piece("end</w>", END), EMPTY)] + [(piece, NOISE) for piece in pieces[ROOM:]]
    if kept < ROOM:
        chips += [(Piece(f"+ {ROOM - kept} x end</w>", END), PAD)]
    places, x, y = [], 0.05, 0.4
    for piece, _ in chips:
        text = piece.text.removesuffix("</w>")
        width = 0.075 * max(len(text), len(str(piece.id))) + 0.12
        if x + width > WIDTH - 0.05:
            x, y = 0.05, y + 0.52
        places.append((x, y, width, text))
        x += width + (0.07 if piece.text.endswith("</w>") else 0)
    claim = f"{kept} of {ROOM} places used, {LENGTH} in all"
    claim += f"; {cut} tokens are cut off" if cut else ""
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
    values = numbers(context).T
    names = ["start", *(p.text.removesuffix("</w>")[:9] for p in pieces[:ROOM]), "end"]
    claim = f"The prompt is now {LENGTH} vectors of {len(values)} numbers"
    largest = f"largest number {np.abs(values).max():.1f}, the colours end at {LIMIT}"
    page = _page(3.2, claim, f"Heat map, one column a token. {claim}; {largest}.")
    image, slot = _tile(page, 0.5, 0.95, 7.9, 1.95, values, **SIGNED), 7.9 / LENGTH
    _value_bar(page, image, 8.55, 0.95, 1.95)
    for number, name in enumerate(names):
        style = {"color": EMPTY if number in (0, len(names) - 1) else PROMPT, "rotation": 90}
        _say(page, 0.5 + (number + 0.5) * slot, 0.93, name, **MONO, va="bottom", **style)
    if len(names) < LENGTH - 25:
        middle = 0.5 + (len(names) + LENGTH) / 2 * slot
        _say(page, middle, 0.82, "padding: the end token again", color=EMPTY)
    _say(page, 0.3, 1.93, f"{len(values)} numbers", rotation=90)
    _say(page, 4.45, 3.05, f"slots 0 to {LENGTH - 1}; {largest}")
    return page.figure


def latent_tiles(latents: Tensor, claim: str = "Latents: four small maps of numbers") -> Figure:
    """The four channels of latents [4, h, w] side by side, on one scale."""
    spread = f"standard deviation {numbers(latents).std():.2f}"
    page = _page(2.4, claim, f"{claim}. Heat maps of latents {list(latents.shape)}, {spread}.")
    for number, channel in enumerate(latents):
        x = 0.3 + number * 2.05
        image = _tile(page, x, 0.4, 1.76, 1.76, numbers(channel), **SIGNED)
        _say(page, x + 0.88, 2.28, f"channel {number}")
    _value_bar(page, image, 8.45, 0.4, 1.76)
    return page.figure


def picture_rows(rows: Mapping[str, Sequence], labels: Sequence[str], claim: str) -> Figure:
    """Rows of pictures with a name on the left and a label above each column.

    rows: {name: pictures}, all of one length; more than ten columns go on below.
    """
    across = min(len(labels), 10)
    size = min(1.28, 8.4 / across - 0.02)
    left, height = WIDTH - (size + 0.02) * across, (size + 0.02) * len(rows) + 0.3
    blocks = -(-len(labels) // across)
    alt = (
        f"{len(labels)} columns: {labels[0]} to {labels[-1]}. Rows of pictures: {'; '.join(rows)}."
    )
    page = _page(0.25 + height * blocks, claim, alt)
    for number, (name, pictures) in enumerate([*rows.items()] * blocks):
        block, row = divmod(number, len(rows))
        y = 0.5 + height * block + (size + 0.02) * row
        part = slice(block * across, (block + 1) * across)
        _say(page, left - 0.08, y + size / 2, fill(name, int(left / 0.08)), ha="right")
        _row(page, left, y, size, pictures[part], labels[part] if row == 0 else ())
    return page.figure


def time_bars(runs: Mapping[str, Mapping[str, float]], claim: str) -> Figure:
    """One bar of milliseconds a run, one colour a part; the numbers stand below it."""
    told = [", ".join(f"{part} {ms:.0f} ms" for part, ms in run.items()) for run in runs.values()]
    scale = 7.9 / max(sum(run.values()) for run in runs.values())
    page = _page(0.4 + 0.6 * len(runs), claim, f"Bars of milliseconds. {'. '.join(told)}.")
    for number, (name, run) in enumerate(runs.items()):
        x, y = 0.95, 0.4 + 0.6 * number
        _say(page, 0.05, y + 0.14, name, ha="left")
        _say(page, x, y + 0.38, told[number], **MONO, ha="left")
        for ms, colour in zip(run.values(), (PROMPT, NOISE, PIXEL, PAD)):
            _box(page, x, y, ms * scale, 0.28, "#333333", facecolor=colour)
            x += ms * scale
    return page.figure
