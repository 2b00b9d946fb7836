"""The whole trip from prompt to picture: the map on top of every page, and the ribbon."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from ..tokenizer import LENGTH
from .canvas import (
    EMPTY,
    MONO,
    NOISE,
    PAD,
    PROMPT,
    SIGNED,
    arrow,
    box,
    new_page,
    numbers,
    row,
    say,
    tile,
)

STAGES = ("tokenizer", "text encoder", "noise", "UNet", "sampler", "VAE decoder")  # pages 01 to 06
PLACES = ((0.95, 0.45), (2.35, 0.45), (2.35, 1.1), (4.0, 0.45), (5.6, 0.45), (7.0, 0.45))


def pipeline_map(*lit: str) -> Figure:
    """The way from prompt to picture, the stages `lit` in colour, each with the page about it."""
    alt = f"The way from prompt to picture: {', '.join(STAGES)}. In colour: {', '.join(lit)}."
    page = new_page(1.75, "From a prompt to a picture", alt)
    for number, (name, (x, y)) in enumerate(zip(STAGES, PLACES), start=1):
        box(page, x, y, 1.1, 0.4, PROMPT if name in lit else PAD, lw=1.5)
        say(page, x + 0.55, y + 0.2, name, weight="bold" if name in lit else None)
        say(page, x + 0.55, y + 0.52, f"page {number:02}", size=8, color=EMPTY)
    say(page, 0.4, 0.65, "prompt")
    say(page, 8.6, 0.65, "picture")
    for x, end in (0.7, 0.95), (2.05, 2.35), (3.45, 4.0), (5.1, 5.6), (6.7, 7.0), (8.1, 8.3):
        arrow(page, x, 0.6, end, 0.6)
    arrow(page, 5.6, 0.73, 5.1, 0.73)  # back for the next step
    arrow(page, 3.45, 1.35, 4.25, 0.87)  # the noise goes in
    say(page, 5.35, 1.05, "again\nand again", size=8, color=EMPTY)
    return page.figure


def ribbon(pieces, context: Tensor, noise: Tensor, guesses: Mapping, picture, ms) -> Figure:
    """The whole trip: words, vectors [77, D], noise [4, h, w], clean-guesses, picture.

    guesses: {step: picture}, the last step last; ms: those of `probe.stopwatch`.
    """
    claim = f"{max(guesses)} small corrections turn noise into the picture"
    alt = f"{len(pieces)} tokens, their vectors, noise, clean-guesses, picture. {claim}."
    page = new_page(3.0, claim, alt)
    words = [piece.text.removesuffix("</w>")[:12] for piece in pieces[:7]]
    for number, word in enumerate([*words, f"+ {LENGTH - len(words)} more"]):
        y = 0.45 + 0.23 * number
        box(page, 0.05, y, 1.0, 0.2, PROMPT if number < len(words) else PAD, lw=0.8)
        say(page, 0.55, y + 0.1, word, **MONO)
    tile(page, 1.4, 0.45, 0.95, 1.81, numbers(context), **SIGNED)
    for x, y, channel in zip((2.7, 3.13, 2.7, 3.13), (0.93, 0.93, 1.36, 1.36), noise):
        tile(page, x, y, 0.41, 0.41, numbers(channel), **SIGNED)
    row(page, 3.86, 1.0, 0.74, guesses.values(), [f"step {step}" for step in guesses])
    page.plot([3.86, 3.86, 7.64, 7.64], [0.78, 0.7, 0.7, 0.78], color=NOISE, lw=1.2)
    say(page, 5.75, 0.55, f"UNet, {max(guesses)} times", color=NOISE)
    row(page, 7.95, 0.87, 1.0, [picture])
    for x in (1.1, 2.4, 3.61, 7.69):
        arrow(page, x, 1.37, x + 0.22, 1.37)
    feet = {
        0.55: f"prompt\nids [{LENGTH}]",
        1.87: f"vectors\n{list(context.shape)}\n{ms['text encoder']:.0f} ms",
        3.12: f"noise\n{list(noise.shape)}",
        5.75: f"clean-guesses\n{list(noise.shape)}, decoded\n{ms['UNet']:.0f} ms",
        8.45: f"picture\n{picture.width} x {picture.height}\n{ms['VAE decoder']:.0f} ms",
    }
    for x, text in feet.items():
        say(page, x, 2.4, text, **MONO, va="top", linespacing=1.5)
    return page.figure
