"""Where the things of a scene are: in the middle of a clear place, apart from each other.

Lengths are in picture widths; groups have the fields of `scenes.Group`.
"""

from collections.abc import Sequence
from random import Random

from .drawing import Placed

DIAMETERS = {"small": 30 / 128, "medium": 44 / 128, "big": 60 / 128}
ROW_DIAMETERS = {2: 40 / 128, 3: 32 / 128}
EDGE, GAP = 4 / 128, 8 / 128  # free space at the picture's edge and between things
AIRBORNE = {"sun", "moon", "star", "cloud", "balloon", "bird", "rocket"}


def _spread(radii: Sequence[float], rng: Random) -> list[tuple[float, float]]:
    """Centres and radii in a line from 0 to 1, the free space shared out unevenly between them;
    the radii shrink where there is not enough of it."""
    room = 1 - 2 * EDGE - GAP * (len(radii) - 1)
    shrink = min(1, (room - 0.02) / (2 * sum(radii)))
    radii = [radius * shrink for radius in radii]
    shares = [rng.uniform(0.7, 1.3) for _ in range(len(radii) + 1)]
    slack = (room - 2 * sum(radii)) / sum(shares)
    result, edge = [], EDGE
    for radius, share in zip(radii, shares, strict=False):
        edge += slack * share
        result.append((edge + radius, radius))
        edge += 2 * radius + GAP
    return result


def _inside(centre: float, radius: float) -> float:
    """The centre moved so that the thing keeps clear of the picture's edge."""
    return min(max(centre, radius + EDGE), 1 - radius - EDGE)


def alone(group, place: str | None, rng: Random) -> tuple[Placed, ...]:
    """A single thing left, in the middle or right; what flies hangs a little higher."""
    radius = DIAMETERS[group.size] / 2
    x = {"left": 0.25, "middle": 0.5, "right": 0.75, None: 0.5}[place] + rng.uniform(-0.025, 0.025)
    y = (0.44 if group.thing in AIRBORNE else 0.58) + rng.uniform(-0.05, 0.05)
    return (
        Placed(
            group.thing, group.colour, group.size, _inside(x, radius), _inside(y, radius), radius
        ),
    )


def in_a_row(group, rng: Random) -> tuple[Placed, ...]:
    """Two or three of a kind side by side, small enough to be counted at a glance."""
    radius, y = ROW_DIAMETERS[group.count] / 2, rng.uniform(0.5, 0.6)
    return tuple(
        Placed(group.thing, group.colour, group.size, x, y + rng.uniform(-0.04, 0.04), r)
        for x, r in _spread([radius] * group.count, rng)
    )


def related(groups, relation: str, rng: Random) -> tuple[Placed, ...]:
    """Two things side by side or one above the other, in the order of the groups."""
    order = groups if relation in ("left of", "above") else groups[::-1]
    level = (
        rng.uniform(0.48, 0.6) if relation in ("left of", "right of") else rng.uniform(0.36, 0.64)
    )
    result = []
    for group, (along, radius) in zip(
        order, _spread([DIAMETERS[group.size] / 2 for group in order], rng), strict=True
    ):
        across = _inside(level + rng.uniform(-0.025, 0.025), radius)
        x, y = (along, across) if relation in ("left of", "right of") else (across, along)
        result.append(Placed(group.thing, group.colour, group.size, x, y, radius))
    return tuple(result if order is groups else result[::-1])
