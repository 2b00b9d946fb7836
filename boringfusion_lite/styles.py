"""The styles: ways to turn a map of roles into paint, and a clean backdrop into a picture.

A style sees which role every cell of a thing has (see `shapes`) but never which thing it is: so
each style knows every thing, and each thing works in every style. Textures are regular and edges
few on purpose: a small VAE has to rebuild a picture from 1/48 of its numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .shapes import ROLES

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (218, 38, 44),
    "orange": (250, 134, 20),
    "yellow": (252, 214, 36),
    "green": (44, 158, 70),
    "blue": (36, 96, 218),
    "purple": (128, 54, 176),
    "pink": (248, 134, 188),
    "brown": (126, 76, 42),
    "black": (36, 36, 42),
    "white": (250, 250, 248),
    "gray": (142, 146, 152),
}

INK, PAPER, WHITE = (
    np.array((40, 34, 50.0)),
    np.array((252, 249, 241.0)),
    np.array((255, 255, 255.0)),
)
OUTLINE = len(ROLES) + 1


@dataclass(frozen=True)
class Style:
    """`paint` turns a role map into RGB and alpha, `backdrop` a clean backdrop into the style's;
    `samples` is the number of map cells a pixel (1/2: two pixels a cell), `steps` the number
    of tones in a backdrop's gradient (0: smooth), `line` the contour in pixels of 128."""

    paint: Callable
    backdrop: Callable
    samples: float = 2
    steps: int = 0
    line: float = 1.3


def mix(a, b, share):
    """From colour a (share 0) to colour b (share 1); arrays broadcast."""
    return a + (np.asarray(b, float) - a) * share


def blurred(values, radius):
    """Gaussian blur of an array [H, W] in 0..1 or [H, W, 3] in 0..255."""
    factor = 255 if values.ndim == 2 else 1
    image = Image.fromarray(np.uint8(np.clip(values * factor, 0, 255)))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), float) / factor


def palette(colour, dark):
    """Paint for every role, [8, 3]: the accents keep their distance from the colour itself."""
    main = np.array(COLOURS[colour], float)
    light, deep = main.mean() > 215, main.mean() < 60
    shade = mix(main, INK, 0.16 if light else 0.3)
    accents = ((112, 112, 124) if deep else INK), ((196, 206, 220) if light else PAPER)
    contour = mix(main, WHITE, 0.62) if dark else mix(main, INK, 0.6 if light else 0.62)
    return np.array([main, main, shade, mix(main, WHITE, 0.3), *accents, contour])


# ---- styles: role map [n, n], palette [8, 3], radius and unit in cells -> RGB, alpha ------------


def _flat(roles, palette, radius, unit):
    return palette[roles], roles > 0


def _lit(roles, palette, radius, unit):
    """Light from the upper left on a rounded body, a soft gloss, a shadow on the ground below."""
    cover, n = (roles > 0).astype(float), len(roles)
    depth = radius * 0.22
    slope_y, slope_x = np.gradient(blurred(cover, depth))
    light = depth * (slope_x * 0.8 + slope_y * 1.3)
    rgb = palette[roles] * (1 + np.clip(light, -0.42, 0.3))[..., None]
    x, y = (np.arange(n) - n / 2) / radius, (np.arange(n)[:, None] - n / 2) / radius
    gloss = 0.34 * np.exp(-((x + 0.32) ** 2 + (y + 0.4) ** 2) / 0.16)
    rgb = mix(rgb, WHITE, gloss[..., None])
    rows = np.flatnonzero(cover.any(1))
    columns = np.flatnonzero(cover[rows[-1] - n // 10 :].any(0))
    left, right, floor = columns[0], columns[-1], rows[-1] + 1
    shadow = Image.new("L", (n, n))
    ImageDraw.Draw(shadow).ellipse(
        (left - unit, floor - 3.5 * unit, right + 4 * unit, floor + 2.5 * unit), fill=150
    )
    shadow = blurred(np.asarray(shadow) / 255.0, 1.6 * unit) * (1 - cover)
    return np.where(cover[..., None] > 0, rgb, INK * 0.5), np.maximum(cover, shadow)


def _sketched(roles, palette, radius, unit):
    """Paper that shows between regular slanted strokes in the thing's colour."""
    n = len(roles)
    stroke = 0.5 + 0.5 * np.cos((np.arange(n) + np.arange(n)[:, None]) * 2 * np.pi / (7 * unit))
    paper = (0.04 + 0.36 * stroke) * (roles != OUTLINE)
    return mix(palette[roles], PAPER, paper[..., None]), roles > 0


def _washed(roles, palette, radius, unit):
    """Pigment that gathers at the rim, pales inside and bleeds a little."""
    cover = (roles > 0).astype(float)
    n = len(roles)
    x, y = (np.arange(n) - n / 2) / radius, (np.arange(n)[:, None] - n / 2) / radius
    pool = 0.34 * np.exp(-((x - 0.25) ** 2 + (y + 0.3) ** 2) / 0.4)
    rgb = mix(blurred(palette[roles], 0.8 * unit), PAPER, 0.06 + pool[..., None])
    return rgb, 0.94 * blurred(cover, 0.6 * unit)


def _smooth(picture, unit):
    return picture


def _photographed(picture, unit):
    """Out of focus behind the things, and darker towards the corners."""
    n = len(picture)
    x = np.linspace(-1, 1, n) ** 2
    return blurred(picture, 1.8 * unit) * (1.01 - 0.08 * (x + x[:, None]))[..., None]


def _on_paper(picture, unit):
    n = len(picture)
    stroke = 0.5 + 0.5 * np.cos((np.arange(n)[:, None] - np.arange(n)) * 2 * np.pi / (8 * unit))
    return mix(picture, PAPER, (0.52 + 0.06 * stroke)[..., None])


def _wetted(picture, unit):
    """A pale wash with slow waves of pigment, ending in a wobbly margin of paper."""
    n = len(picture)
    x = np.linspace(0, 1, n)
    y = x[:, None]
    tone = 0.2 + 0.1 * np.sin(5 * x + 3 * y) * np.sin(4 * y - 2 * x + 1)
    rim = np.minimum(
        np.minimum(x, 1 - x) + 0.008 * np.sin(25 * y),
        np.minimum(y, 1 - y) + 0.008 * np.sin(22 * x + 1),
    )
    paper = np.clip(1 - (rim - 0.03) / 0.02, 0, 1)
    return mix(blurred(picture, 2 * unit), PAPER, np.maximum(tone, paper)[..., None])


STYLES: dict[str, Style] = {
    "flat drawing": Style(_flat, _smooth, steps=3),
    "photorealistic": Style(_lit, _photographed, line=0.8),
    "pencil sketch": Style(_sketched, _on_paper, line=1.5),
    "watercolor": Style(_washed, _wetted, line=1.5),
    "pixel art": Style(_flat, _smooth, samples=1 / 2, steps=5, line=2),
}
