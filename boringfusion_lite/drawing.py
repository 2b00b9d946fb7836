"""How the toy world is drawn: coloured things before surroundings, in one of several styles.

Every thing is rasterised into a small map of roles, which its style paints and the picture then
takes up. What the parts look like is told elsewhere: `things`, `surroundings`, `styles`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from .shapes import ROLES
from .styles import COLOURS, OUTLINE, STYLES, palette
from .surroundings import SKY, SURROUNDINGS
from .things import PAINTERS, SHAPES

THINGS: dict[str, Callable] = PAINTERS
MARGIN = 0.07  # what a sprite needs around its thing for a shadow, in picture widths


@dataclass(frozen=True)
class Placed:
    """One thing in the picture; centre and radius (half its extent) in picture widths, 0 to 1."""

    thing: str
    colour: str
    size: str
    x: float
    y: float
    radius: float


# ---- backdrops ------------------------------------------------------------------------------


def _cell(size, style):
    """Pixels to the side of one visible cell: 1 except in a coarse style."""
    return max(1, round(size / 128 / STYLES[style].samples))


def _enlarged(image, cell):
    return image.resize((image.width * cell, image.height * cell), Image.NEAREST)


@lru_cache(maxsize=512)
def _backdrop(surroundings: str, style: str, size: int, variant: int) -> Image.Image:
    """The empty scene; odd variants are mirrored, the others differ in where the ground begins."""
    look, shift = STYLES[style], (variant // 2 - 1) * 0.02
    coarse = 2 * _cell(size, style)  # a coarse style is coarser still far away
    cells = ceil(size / coarse) if look.samples < 1 else size * 2
    picture = np.zeros((cells, cells, 3))
    for points, colours in SURROUNDINGS[surroundings].layers:
        fixed = points is SKY
        points = np.array(points) + (0, 0 if fixed else shift)
        top, bottom = points[:, 1].min(), points[:, 1].max()
        tone = np.clip(((np.arange(cells) + 0.5) / cells - top) / (bottom - top), 0, 1)
        if look.steps:
            tone = (np.floor(tone * look.steps).clip(0, look.steps - 1) + 0.5) / look.steps
        stops = np.linspace(0, 1, len(colours))
        fill = np.stack(
            [np.interp(tone, stops, channel) for channel in zip(*colours, strict=True)], 1
        )
        mask = Image.new("L", (cells, cells))
        ImageDraw.Draw(mask).polygon([tuple(p) for p in points * cells - 0.5], fill=255)
        inside = np.asarray(mask)[..., None] > 0
        picture = np.where(inside | fixed, fill[:, None], picture)
    picture = look.backdrop(picture, cells / 128)
    image = Image.fromarray(np.uint8(np.clip(picture[:, ::-1] if variant % 2 else picture, 0, 255)))
    if look.samples < 1:
        return _enlarged(image, coarse).crop((0, 0, size, size))
    return image.reduce(2)


# ---- things ----------------------------------------------------------------------------------


def _grown(mask, cells):
    """The mask spread by so many cells, alternately to four and to eight neighbours."""
    for step in range(cells):
        wide = mask | np.roll(mask, 1, 1) | np.roll(mask, -1, 1)
        tall = wide if step % 2 else mask
        mask = wide | np.roll(tall, 1, 0) | np.roll(tall, -1, 0)
    return mask


def _role_map(thing, radius, samples, line, margin, flip):
    """Which role each cell shows, uint8 [n, n]: 0 outside, then ROLES, then the contour."""
    n = 2 * ceil((radius + margin) * samples)
    reach = (radius - line) * samples
    image = Image.new("L", (n, n))
    pen = ImageDraw.Draw(image)
    parts = [
        (
            ROLES.index(role) + 1,
            [
                ((-x if flip else x) * reach + (n - 1) / 2, y * reach + (n - 1) / 2)
                for x, y in points
            ],
        )
        for role, points in SHAPES[thing]
    ]
    for role, points in parts:
        pen.polygon(points, fill=role)
    roles = np.asarray(image)
    contour = _grown(roles > 0, max(1, round(line * samples))) & (roles == 0)
    return np.where(contour, OUTLINE, roles)


@lru_cache(maxsize=1024)
def _sprite(thing, colour, style, radius, size, dark, flip) -> Image.Image:
    """One painted thing, RGBA, with the thing in the middle; radius in pixels."""
    look, unit = STYLES[style], size / 128
    roles = _role_map(thing, radius, look.samples, look.line * unit, MARGIN * size, flip)
    rgb, alpha = look.paint(
        roles, palette(colour, dark), radius * look.samples, unit * look.samples
    )
    rgba = np.dstack([np.clip(rgb, 0, 255), np.asarray(alpha, float) * 255])
    image = Image.fromarray(np.uint8(rgba.round()))
    if look.samples < 1:
        return _enlarged(image, _cell(size, style))
    return image.reduce(int(look.samples))


def _known(kind, name, table):
    if name not in table:
        raise ValueError(
            f"unknown {kind} {name!r}: it cannot be drawn; use one of {', '.join(table)}"
        )


def draw(
    placed: Sequence[Placed], surroundings: str, style: str, *, size: int = 128, seed: int = 0
) -> Image.Image:
    """Paint the things in their order into the surroundings, an RGB picture of size x size.

    The seed chooses what carries no meaning: which way things face, the lie of the land.
    Raises ValueError for unknown names, a size below 16 and things without extent.
    """
    _known("surroundings", surroundings, SURROUNDINGS)
    _known("style", style, STYLES)
    if size < 16:
        raise ValueError(f"size {size} leaves no room to draw: use 16 or more")
    rng = Random(seed)
    canvas = _backdrop(surroundings, style, size, rng.randrange(6)).copy()
    cell = _cell(size, style)
    for item in placed:
        _known("thing", item.thing, THINGS)
        _known("colour", item.colour, COLOURS)
        if not 0 < item.radius <= 1:
            raise ValueError(f"radius {item.radius} of the {item.thing}: use a number in (0, 1]")
        sprite = _sprite(
            item.thing,
            item.colour,
            style,
            round(item.radius * size),
            size,
            SURROUNDINGS[surroundings].dark and style != "pencil sketch",
            rng.random() < 0.5,
        )
        left, top = (
            cell * round((centre * size - sprite.width / 2) / cell) for centre in (item.x, item.y)
        )
        canvas.paste(sprite, (left, top), sprite)
    return canvas
