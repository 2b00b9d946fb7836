"""What may be round the things: backdrops of a few soft layers, without a nameable thing in them.

Coordinates run from 0 to 1, x to the right, y downwards. How a layer looks in the end, flat or
blurred or washed, is the style's affair: that is in `drawing`.
"""

from dataclasses import dataclass

from .shapes import box, ellipse, polygon

SKY = box(0, 0, 1, 1)


@dataclass(frozen=True)
class Surroundings:
    """A backdrop: layers from back to front, each an outline (0 to 1) and its colours from the
    top of the outline to its bottom. On a dark one, things get a light contour."""

    layers: tuple
    dark: bool = False


def _plain(top, bottom):
    return Surroundings(((SKY, (top, bottom)),))


def _dots(places, radius, colour):
    return tuple((ellipse(x, y, radius), (colour,)) for x, y in places)


SPARKS = (
    (0.08, 0.1),
    (0.24, 0.24),
    (0.4, 0.07),
    (0.55, 0.2),
    (0.72, 0.08),
    (0.9, 0.2),
    (0.95, 0.46),
    (0.06, 0.42),
)
FLAKES = (
    (0.1, 0.14),
    (0.3, 0.06),
    (0.48, 0.2),
    (0.7, 0.1),
    (0.9, 0.22),
    (0.2, 0.34),
    (0.8, 0.4),
    (0.05, 0.5),
)
TUFTS = tuple(
    (
        polygon(
            (x - 0.035, y),
            (x - 0.015, y - 0.05),
            (x, y - 0.01),
            (x + 0.015, y - 0.05),
            (x + 0.035, y),
        ),
        ((104, 166, 82),),
    )
    for x, y in ((0.1, 0.78), (0.35, 0.92), (0.62, 0.8), (0.88, 0.93), (0.9, 0.72))
)
SURROUNDINGS: dict[str, Surroundings] = {
    "plain white": _plain((252, 252, 251), (238, 239, 240)),
    "plain blue": _plain((186, 216, 244), (162, 198, 234)),
    "plain pink": _plain((252, 216, 226), (246, 198, 213)),
    "at night": Surroundings(
        (
            (SKY, ((22, 26, 70), (38, 44, 100), (74, 72, 134))),
            *_dots(SPARKS, 0.012, (250, 240, 200)),
            (ellipse(0.2, 1.02, 0.62, 0.3), ((40, 50, 92), (30, 38, 76))),
            (ellipse(0.85, 1.05, 0.6, 0.27), ((28, 38, 74), (20, 28, 58))),
        ),
        dark=True,
    ),
    "at sunset": Surroundings(
        (
            (SKY, ((116, 78, 150), (208, 104, 142), (252, 158, 112), (255, 212, 132))),
            (box(0, 0.72, 1, 1.1), ((206, 110, 112), (128, 74, 122))),
            (ellipse(0.1, 0.74, 0.42, 0.12, 180, 360), ((150, 84, 126),)),
            (ellipse(0.82, 0.74, 0.36, 0.08, 180, 360), ((166, 90, 124),)),
        )
    ),
    "in the snow": Surroundings(
        (
            (SKY, ((160, 190, 220), (206, 222, 236))),
            *_dots(FLAKES, 0.015, (250, 252, 255)),
            (ellipse(0.8, 1.0, 0.7, 0.42), ((222, 233, 243), (212, 226, 240))),
            (ellipse(0.2, 1.12, 0.9, 0.42), ((246, 249, 253), (232, 240, 248))),
        )
    ),
    "on the beach": Surroundings(
        (
            (SKY, ((150, 206, 240), (214, 238, 246))),
            (box(0, 0.46, 1, 0.8), ((48, 142, 190), (94, 190, 206))),
            (ellipse(0.3, 1.1, 1.1, 0.47), ((246, 250, 248),)),
            (ellipse(0.3, 1.13, 1.1, 0.45), ((244, 222, 170), (230, 202, 146))),
        )
    ),
    "in a meadow": Surroundings(
        (
            (SKY, ((166, 214, 246), (222, 240, 246))),
            (ellipse(0.85, 0.98, 0.75, 0.46), ((158, 206, 120), (140, 194, 104))),
            (ellipse(0.15, 1.1, 0.95, 0.5), ((146, 200, 108), (122, 182, 90))),
            *TUFTS,
        )
    ),
    "in a room": Surroundings(
        (
            (SKY, ((244, 228, 204), (236, 214, 186))),
            (box(0.08, 0.08, 0.4, 0.44), ((252, 250, 244),)),
            (box(0.11, 0.11, 0.225, 0.41), ((184, 218, 238), (214, 234, 242))),
            (box(0.255, 0.11, 0.37, 0.41), ((184, 218, 238), (214, 234, 242))),
            (box(0, 0.7, 1, 0.74), ((250, 244, 232),)),
            (box(0, 0.74, 1, 1.1), ((206, 164, 122), (184, 140, 98))),
            (ellipse(0.5, 0.88, 0.4, 0.08), ((222, 190, 160),)),
        )
    ),
}
