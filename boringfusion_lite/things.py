"""What the things of the toy world look like, in a box from -1 to 1.

A painter is a function without arguments that lists the parts of one thing, from back to front,
each a role and an outline (see `shapes`). Nothing here knows of colours, styles or pixels: that is
the work of `drawing`.
"""

from math import cos, pi, sin

from .shapes import arc, box, ellipse, eyes, fitted, mirrored, polygon, rotated

# fmt: off


def couch():
    arm = box(-1, -0.14, -0.6, 0.54, 0.19)
    cushion = box(-0.6, -0.05, -0.02, 0.26, 0.1)
    foot = box(-0.84, 0.48, -0.62, 0.7)
    return [("dark", foot), ("dark", mirrored(foot)), ("main", box(-0.82, -0.66, 0.82, 0.3, 0.24)),
            ("shade", box(-0.035, -0.6, 0.035, 0.1)), ("shade", box(-0.7, 0.1, 0.7, 0.54)),
            ("light", cushion), ("light", mirrored(cushion)), ("main", arm),
            ("main", mirrored(arm))]

def chair():
    return [("shade", box(-0.36, 0.2, -0.16, 0.86)), ("shade", box(0.24, 0.2, 0.42, 0.86)),
            ("main", box(-0.66, -1, -0.36, 1, 0.12)), ("main", box(0.46, 0.2, 0.72, 1, 0.1)),
            ("main", box(-0.66, 0.02, 0.74, 0.34, 0.12)),
            ("light", box(-0.36, -0.14, 0.7, 0.08, 0.1))]

def table():
    leg = box(-0.86, -0.3, -0.6, 0.72, 0.05)
    return [("shade", box(-0.8, -0.3, 0.8, 0.0)), ("main", leg), ("main", mirrored(leg)),
            ("main", box(-1, -0.54, 1, -0.2, 0.1)), ("light", box(-0.9, -0.48, 0.9, -0.38, 0.05))]

def lamp():
    return [("dark", box(-0.1, -0.2, 0.1, 0.85)), ("pale", ellipse(0, -0.06, 0.26, 0.2)),
            ("main", polygon((-0.36, -1), (0.36, -1), (0.78, -0.06), (-0.78, -0.06))),
            ("light", polygon((-0.22, -0.92), (-0.02, -0.92), (-0.12, -0.14), (-0.54, -0.14))),
            ("main", ellipse(0, 1, 0.52, 0.34, 180, 360))]

def house():
    return [("shade", box(0.36, -0.92, 0.64, -0.2)), ("main", box(-0.74, -0.2, 0.74, 0.94)),
            ("shade", polygon((-1, -0.08), (0, -0.98), (1, -0.08))),
            ("dark", box(-0.5, 0.3, -0.1, 0.94, 0.06)), ("pale", box(0.12, 0.16, 0.54, 0.56)),
            ("main", box(0.3, 0.16, 0.37, 0.56))]

def tree():
    return [("dark", box(-0.16, 0.2, 0.16, 1)), ("main", ellipse(-0.4, 0.1, 0.44)),
            ("main", ellipse(0.4, 0.1, 0.44)), ("main", ellipse(0, -0.4, 0.58)),
            ("main", ellipse(0, 0.1, 0.44)), ("light", ellipse(-0.18, -0.56, 0.26, 0.2, tilt=-30)),
            ("shade", ellipse(0.42, 0.26, 0.26, 0.16, tilt=-20))]

def flower():
    petals = [ellipse(0.44 * cos(a), -0.34 + 0.44 * sin(a), 0.29)
              for a in [i * pi / 3 + pi / 6 for i in range(6)]]
    return [("dark", box(-0.08, 0.1, 0.08, 1)), ("dark", ellipse(0.3, 0.72, 0.3, 0.13, tilt=-28)),
            *[("main", petal) for petal in petals], ("main", ellipse(0, -0.34, 0.4)),
            ("pale", ellipse(0, -0.34, 0.24))]

def sun():
    rays = [rotated(polygon((-0.24, -0.5), (0, -1), (0.24, -0.5)), 36 * i) for i in range(10)]
    return [*[("shade", ray) for ray in rays], ("main", ellipse(0, 0, 0.66)), *eyes(0, -0.1, 0.24),
            ("dark", arc(0, 0.06, 0.26, 25, 155, 0.1))]

def moon():
    outer = ellipse(0, 0, 1, start=48, stop=312)
    inner = ellipse(0.52, 0, 0.76, start=100, stop=260)
    return [("main", outer + inner[::-1]), ("shade", ellipse(-0.58, 0.34, 0.15)),
            ("shade", ellipse(-0.2, 0.72, 0.1)), ("dark", ellipse(-0.5, -0.28, 0.1, 0.12))]

def star():
    points = [(r * sin(i * pi / 5), -r * cos(i * pi / 5)) for i, r in enumerate([1, 0.5] * 5)]
    facets = [polygon((0, 0), points[i], points[(i + 1) % 10]) for i in range(1, 10, 2)]
    return [("main", points), *[("light", facet) for facet in facets[2:]], *eyes(0, 0.02, 0.18)]

def cloud():
    return [("main", ellipse(-0.58, 0.18, 0.42)), ("main", ellipse(0.6, 0.2, 0.4)),
            ("main", ellipse(-0.14, -0.14, 0.5)), ("main", ellipse(0.34, -0.02, 0.4)),
            ("main", box(-0.6, 0.1, 0.62, 0.6)),
            ("light", ellipse(-0.24, -0.26, 0.24, 0.18, tilt=-25)),
            ("shade", box(-0.6, 0.44, 0.6, 0.56, 0.06))]

def car():
    window = polygon((-0.4, -0.38), (-0.06, -0.38), (-0.06, -0.04), (-0.56, -0.04))
    wheels = [
        part
        for x in (-0.52, 0.52)
        for part in (("dark", ellipse(x, 0.44, 0.27)), ("pale", ellipse(x, 0.44, 0.11)))
    ]
    return [("main", polygon((-0.78, 0), (-0.48, -0.54), (0.36, -0.54), (0.68, 0))),
            ("pale", window),
            ("pale", polygon((0.06, -0.38), (0.28, -0.38), (0.46, -0.04), (0.06, -0.04))),
            ("main", box(-1, -0.06, 1, 0.46, 0.2)), ("light", box(-0.9, 0.02, 0.72, 0.12, 0.05)),
            ("pale", ellipse(0.88, 0.14, 0.1)), *wheels]

def boat():
    return [("dark", box(-0.06, -1, 0.06, 0.4)),
            ("main", polygon((0.12, -0.94), (0.12, 0.22), (0.86, 0.22))),
            ("light", polygon((-0.12, -0.7), (-0.12, 0.22), (-0.66, 0.22))),
            ("main", polygon((-1, 0.34), (1, 0.34), (0.66, 0.92), (-0.66, 0.92))),
            ("shade", polygon((-0.84, 0.62), (0.84, 0.62), (0.66, 0.92), (-0.66, 0.92)))]

def fish():
    return [("shade", polygon((0.4, 0), (1, -0.5), (0.84, 0), (1, 0.5))),
            ("shade", ellipse(-0.1, -0.36, 0.36, 0.3, 180, 360)),
            ("main", ellipse(-0.22, 0, 0.78, 0.5)),
            ("light", ellipse(-0.26, 0.12, 0.6, 0.34, 0, 180)),
            ("shade", polygon((-0.1, 0.0), (0.26, -0.16), (0.2, 0.24))),
            ("pale", ellipse(-0.62, -0.12, 0.17)), ("dark", ellipse(-0.65, -0.12, 0.09))]

def cat():
    ear = polygon((-0.56, -0.3), (-0.52, -1), (-0.06, -0.74))
    inner = polygon((-0.44, -0.6), (-0.43, -0.84), (-0.24, -0.7))
    return [("shade", arc(0.5, 0.5, 0.32, -80, 110, 0.2)), ("main", ear), ("main", mirrored(ear)),
            ("shade", inner), ("shade", mirrored(inner)), ("main", ellipse(0, 0.48, 0.54, 0.52)),
            ("light", ellipse(0, 0.58, 0.28, 0.34)), ("main", ellipse(0, -0.34, 0.58, 0.46)),
            *eyes(0, -0.38, 0.25, 0.11), ("dark", polygon((-0.1, -0.2), (0.1, -0.2), (0, -0.08)))]

def bird():
    return [("dark", box(-0.12, 0.5, -0.02, 0.92)), ("dark", box(0.14, 0.5, 0.24, 0.92)),
            ("shade", polygon((-0.44, 0.0), (-1, -0.3), (-0.88, 0.26), (-0.4, 0.36))),
            ("main", ellipse(0, 0.16, 0.62, 0.5)), ("main", ellipse(0.4, -0.34, 0.4)),
            ("dark", polygon((0.74, -0.46), (1, -0.26), (0.72, -0.14))),
            ("light", ellipse(0.26, 0.3, 0.34, 0.28)), ("dark", ellipse(0.5, -0.42, 0.1)),
            ("shade", ellipse(-0.2, 0.1, 0.38, 0.22, tilt=-18))]

def apple():
    return [("main", ellipse(-0.26, 0.2, 0.6, 0.68)), ("main", ellipse(0.26, 0.2, 0.6, 0.68)),
            ("light", ellipse(-0.46, -0.02, 0.14, 0.26, tilt=25)),
            ("shade", ellipse(0, -0.4, 0.26, 0.1)),
            ("dark", rotated(box(-0.07, -0.86, 0.07, -0.36), 12)),
            ("shade", ellipse(0.4, -0.72, 0.3, 0.15, tilt=-25))]

def ball():
    band = ellipse(0, 0.36, 0.98, 0.34, 200, 340) + ellipse(0, -0.06, 0.98, 0.34, 340, 200)
    return [("main", ellipse(0, 0, 1)), ("pale", rotated(band, -20)),
            ("light", ellipse(-0.34, -0.62, 0.26, 0.15, tilt=-35))]

def cup():
    return [("shade", arc(0.5, 0.06, 0.36, -90, 90, 0.2)),
            ("main", box(-0.86, -0.68, 0.52, 0.74, 0.2)),
            ("light", box(-0.7, -0.36, -0.52, 0.46, 0.09)),
            ("light", ellipse(-0.17, -0.6, 0.69, 0.2)), ("dark", ellipse(-0.17, -0.6, 0.54, 0.12))]

def book():
    parts = [
        ("shade", box(-0.72, -0.94, 0.72, 0.94, 0.1)), ("pale", box(-0.6, 0.66, 0.72, 0.82)),
        ("main", box(-0.5, -0.94, 0.72, 0.68, 0.06)), ("pale", box(-0.24, -0.58, 0.46, -0.2, 0.06)),
        ("light", box(-0.24, -0.02, 0.46, 0.1)),
    ]
    return [(role, rotated(points, 9)) for role, points in parts]

def balloon():
    return [("dark", arc(0.2, 0.7, 0.24, 110, 250, 0.08, 1.4)),
            ("shade", polygon((-0.18, 0.52), (0.18, 0.52), (0, 0.26))),
            ("main", ellipse(0, -0.32, 0.6, 0.68)),
            ("light", ellipse(-0.24, -0.58, 0.13, 0.24, tilt=25))]

def mushroom():
    return [("pale", box(-0.36, -0.1, 0.36, 0.9, 0.2)), *eyes(0, 0.34, 0.16, 0.08),
            ("main", ellipse(0, 0.1, 1, 1, 180, 360)), ("main", box(-1, 0.0, 1, 0.2, 0.1)),
            ("pale", ellipse(-0.46, -0.2, 0.2, 0.17)), ("pale", ellipse(0.1, -0.56, 0.2, 0.17)),
            ("pale", ellipse(0.56, -0.12, 0.16, 0.14))]

def snowman():
    arm = rotated(box(-0.9, -0.02, -0.36, 0.08), 24, -0.4, 0.1)
    return [("dark", arm), ("dark", mirrored(arm)), ("main", ellipse(0, 0.5, 0.58, 0.5)),
            ("main", ellipse(0, -0.06, 0.44, 0.4)), ("main", ellipse(0, -0.6, 0.4)),
            ("shade", box(-0.38, -0.34, 0.38, -0.18, 0.08)),
            ("shade", box(0.12, -0.3, 0.3, 0.14, 0.06)), *eyes(0, -0.68, 0.16, 0.08),
            ("dark", ellipse(0, 0.34, 0.08)), ("dark", ellipse(0, 0.64, 0.08)),
            ("shade", polygon((-0.06, -0.6), (0.3, -0.52), (-0.06, -0.48)))]

def heart():
    angles = [i * pi / 30 for i in range(60)]
    outline = [
        (sin(a) ** 3, (-13 * cos(a) + 5 * cos(2 * a) + 2 * cos(3 * a) + cos(4 * a)) / 16)
        for a in angles
    ]
    return [("main", outline), ("light", ellipse(-0.5, -0.4, 0.2, 0.15, tilt=-40))]

def rocket():
    fin = polygon((-0.3, 0.06), (-0.68, 0.5), (-0.68, 0.78), (-0.26, 0.56))
    body = ellipse(0, 0.1, 0.42, 1.1, 138, 402)
    return [("light", polygon((-0.26, 0.6), (-0.12, 0.84), (0, 1), (0.12, 0.84), (0.26, 0.6))),
            ("shade", fin), ("shade", mirrored(fin)), ("main", body),
            ("shade", ellipse(0, 0.1, 0.42, 1.1, 232, 308)), ("pale", ellipse(0, -0.16, 0.22)),
            ("dark", ellipse(0, -0.16, 0.11)), ("dark", box(-0.28, 0.62, 0.28, 0.76))]

def robot():
    arm, leg = box(-0.84, 0.02, -0.6, 0.6, 0.1), box(-0.4, 0.6, -0.12, 1, 0.06)
    return [("dark", box(-0.05, -0.9, 0.05, -0.6)), ("main", ellipse(0, -0.9, 0.12)),
            ("shade", arm), ("shade", mirrored(arm)), ("shade", leg), ("shade", mirrored(leg)),
            ("main", box(-0.56, -0.74, 0.56, -0.08, 0.14)),
            ("pale", box(-0.4, -0.58, 0.4, -0.24, 0.12)), *eyes(0, -0.41, 0.2, 0.09),
            ("main", box(-0.54, 0.0, 0.54, 0.7, 0.1)), ("light", box(-0.3, 0.16, 0.3, 0.44, 0.06))]

def umbrella():
    return [("dark", box(-0.06, -0.9, 0.06, 0.74)), ("dark", arc(0.2, 0.72, 0.2, 0, 180, 0.12)),
            ("main", ellipse(0, 0.06, 1, 0.94, 180, 360)),
            ("light", ellipse(0, 0.06, 0.36, 0.94, 180, 360)),
            ("dark", box(-0.05, -1, 0.05, -0.84))]

def hat():
    return [("shade", ellipse(0, 0.5, 1, 0.24)), ("main", ellipse(0, 0.42, 1, 0.2)),
            ("main", polygon((-0.62, -0.7), (0.62, -0.7), (0.52, 0.46), (-0.52, 0.46))),
            ("pale", polygon((-0.56, 0.06), (0.56, 0.06), (0.53, 0.34), (-0.53, 0.34))),
            ("light", ellipse(0, -0.7, 0.62, 0.14))]


PAINTERS = {painter.__name__: painter for painter in (
    couch, chair, table, lamp, house, tree, flower, sun, moon, star, cloud, car, boat, fish, cat,
    bird, apple, ball, cup, book, balloon, mushroom, snowman, heart, rocket, robot, umbrella, hat)}

# fmt: on

SHAPES = {name: fitted(painter()) for name, painter in PAINTERS.items()}
