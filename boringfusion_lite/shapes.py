"""The few shapes that everything in the toy world is made of: outlines of points, nothing else.

x grows to the right and y downwards; angles are degrees, 0 is right and 90 is down. A part is an
outline with a role; the role says which paint it gets, never which colour: `main` is the thing's
named colour, `shade` and `light` are darker and paler kinds of it, `dark` and `pale` are neutral
accents (eyes, wheels, windows).
"""

from math import cos, pi, radians, sin

Points = list[tuple[float, float]]
Part = tuple[str, Points]

ROLES = ("main", "shade", "light", "dark", "pale")


def polygon(*points) -> Points:
    """The corners as given."""
    return list(points)


def ellipse(x, y, rx, ry=None, start=0, stop=360, tilt=0) -> Points:
    """An ellipse round (x, y), or the slice of it from `start` to `stop` degrees (0 is right,
    90 is down), closed by its chord; `tilt` turns the whole."""
    ry = rx if ry is None else ry
    angles = [radians(start + (stop - start) * i / 36) for i in range(37)]
    return rotated([(x + rx * cos(a), y + ry * sin(a)) for a in angles], tilt, x, y)


def box(left, top, right, bottom, corner=0.0) -> Points:
    """A rectangle whose corners are rounded with the radius `corner`."""
    if not corner:
        return [(left, top), (right, top), (right, bottom), (left, bottom)]
    centres = [
        (right - corner, bottom - corner),
        (left + corner, bottom - corner),
        (left + corner, top + corner),
        (right - corner, top + corner),
    ]
    return [
        (x + corner * cos(a), y + corner * sin(a))
        for quarter, (x, y) in enumerate(centres)
        for a in [(quarter + i / 6) * pi / 2 for i in range(7)]
    ]


def arc(x, y, radius, start, stop, width, squeeze=1.0) -> Points:
    """A thick curved line from `start` to `stop` degrees; `squeeze` scales its height."""
    outer = ellipse(x, y, radius + width / 2, squeeze * (radius + width / 2), start, stop)
    inner = ellipse(x, y, radius - width / 2, squeeze * (radius - width / 2), start, stop)
    return outer + inner[::-1]


def rotated(points, degrees, x=0.0, y=0.0) -> Points:
    """The points turned clockwise round (x, y)."""
    c, s = cos(radians(degrees)), sin(radians(degrees))
    return [(x + c * (px - x) - s * (py - y), y + s * (px - x) + c * (py - y)) for px, py in points]


def mirrored(points) -> Points:
    """The points seen in a mirror: left becomes right."""
    return [(-x, y) for x, y in points]


def eyes(x, y, apart, size=0.1) -> list[Part]:
    """Two dark dots, so that a thing looks back at you."""
    return [("dark", ellipse(x + side * apart, y, size, size * 1.2)) for side in (-1, 1)]


def fitted(parts) -> list[Part]:
    """The parts moved and scaled so that the larger side of their box spans -1 to 1."""
    xs, ys = zip(*[point for _, points in parts for point in points], strict=True)
    x, y = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
    scale = 2 / max(max(xs) - min(xs), max(ys) - min(ys))
    return [
        (role, [((px - x) * scale, (py - y) * scale) for px, py in points])
        for role, points in parts
    ]
