"""A smaller world for a first training: one thing, seen from near, on a quarter of the pixels.

Latents of 8 x 8 instead of 16 x 16 make every step four times as fast, and without sizes, counts
and places there is little to learn: what it is, which colour, what is around it. Notebook 11 trains
a UNet on it in minutes.
"""

from dataclasses import dataclass, field
from itertools import product
from random import Random

import numpy as np

from .dataset import Pictures
from .scenes import Group, Scene, World, held_out

FEW = World(
    tuple("house tree fish star mushroom".split()),
    tuple("red yellow green blue purple".split()),
    ("plain white", "at night", "in a meadow"),
    ("flat drawing",),
)


def closeup_scenes(world: World, count: int, split: str = "train", first: int = 0) -> list[Scene]:
    """`count` scenes with one medium thing in the middle; every combination comes equally often.

    split: "train" leaves out the (thing, colour) pairs that are held out, "held-out" has only them.
    """
    pairs = [
        pair
        for pair in product(world.things, world.colours)
        if held_out(*pair) == (split == "held-out")
    ]
    combinations = list(product(pairs, world.surroundings, world.styles))
    Random("closeups").shuffle(combinations)
    return [
        Scene((Group(thing, colour),), None, None, around, style, seed)
        for seed in range(first, first + count)
        for (thing, colour), around, style in [combinations[seed % len(combinations)]]
    ]


def window(scene: Scene, size: int, full: int) -> tuple[int, int]:
    """Left and top of a square of `size` pixels near the thing in a picture of `full` pixels."""
    thing, jitter = scene.placed[0], Random(f"window {scene.seed}")
    corner = (
        round(full * centre + jitter.uniform(-0.02, 0.02) * full - size / 2)
        for centre in (thing.x, thing.y)
    )
    left, top = (min(max(0, start), full - size) for start in corner)
    return left, top


@dataclass
class Closeups(Pictures):
    """Close-ups in memory, with what training asks of Pictures: pixels, captions, where things are.

    Pixels uint8 [N, size, size, 3].
    """

    scenes: list[Scene] = field(default_factory=list)

    @classmethod
    def of(cls, scenes: list[Scene], world: World = FEW, size: int = 64) -> "Closeups":
        """Draw the scenes at twice the size and cut out the square in which the thing is."""
        full = 2 * size
        pixels = np.empty((len(scenes), size, size, 3), dtype=np.uint8)
        places = np.zeros((len(scenes), 1, 3), dtype=np.float32)
        for row, scene in enumerate(scenes):
            (left, top), thing = window(scene, size, full), scene.placed[0]
            box = (left, top, left + size, top + size)
            pixels[row] = np.asarray(scene.draw(full).crop(box))
            x, y, radius = full * thing.x - left, full * thing.y - top, full * thing.radius
            places[row, 0] = x / size, y / size, radius / size
        return cls(world, 0, pixels, places, scenes=scenes)

    def scene(self, i: int) -> Scene:
        return self.scenes[int(i)]
