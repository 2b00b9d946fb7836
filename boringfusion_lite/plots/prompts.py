"""Prompts as the model reads them: rows of tokens, and their vectors."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from ..tokenizer import END, LENGTH, ROOM, START, Piece
from .canvas import (
    EMPTY,
    LIMIT,
    MONO,
    NOISE,
    PAD,
    PROMPT,
    SIGNED,
    WIDTH,
    box,
    new_page,
    numbers,
    say,
    tile,
)


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
    page = new_page(y + 0.5, claim, f"Prompt as a row of tokens with their ids: {claim}.")
    for (piece, colour), (x, y, width, text) in zip(chips, places):
        box(page, x, y, width, 0.42, colour, hatch="////" if colour == PAD else None)
        say(page, x + width / 2, y + 0.14, text, family="monospace")
        say(page, x + width / 2, y + 0.31, str(piece.id), **MONO, color=EMPTY)
        if colour == NOISE:
            page.plot([x, x + width], [y + 0.14, y + 0.14], color=NOISE, lw=1)
    return page.figure


def embedding_map(context: Tensor, pieces: Sequence[Piece]) -> Figure:
    """The prompt as vectors [77, D]: one column a slot, from the start token to the padding."""
    values, slot = numbers(context).T, 7.9 / LENGTH
    claim = f"The prompt is now {LENGTH} vectors of {len(values)} numbers"
    largest = f"largest number {np.abs(values).max():.1f}, the colours end at {LIMIT}"
    page = new_page(3.2, claim, f"Heat map, one column a token. {claim}; {largest}.")
    tile(page, 0.5, 0.95, 7.9, 1.95, values, bar=True, **SIGNED)
    names = ["start", *(p.text.removesuffix("</w>")[:9] for p in pieces[:ROOM]), "end"]
    for x, name in enumerate(names):
        style = MONO | {"color": EMPTY if x in (0, len(names) - 1) else PROMPT, "rotation": 90}
        say(page, 0.5 + (x + 0.5) * slot, 0.93, name, va="bottom", **style)
    if len(names) < LENGTH - 25:
        say(page, 0.7 + len(names) * slot, 0.82, "the end token again: padding", ha="left")
    say(page, 0.3, 1.93, f"{len(values)} numbers", rotation=90)
    say(page, 4.45, 3.05, f"slots 0 to {LENGTH - 1}; {largest}")
    return page.figure
