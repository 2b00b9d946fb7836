"""Scenes as training data: pictures drawn once, captions worded anew each time they are used."""

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .scenes import Scene, World, random_scene

MOST_THINGS = 3  # a scene holds at most three drawn things


def scene_number(index: int, world: World, split: str = "train") -> Scene:
    """The `index`-th scene of a split; training, validation and test never share an index."""
    return random_scene(index, world, split)


def render(index: int, world: World, split: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 [size, size, 3] and where the things are: float32 [3, 3] of x, y, radius."""
    scene = scene_number(index, world, split)
    places = np.zeros((MOST_THINGS, 3), dtype=np.float32)
    for row, thing in enumerate(scene.placed):
        places[row] = thing.x, thing.y, thing.radius
    return np.asarray(scene.draw(size)), places


def shuffled(total: int, batch: int, step: int, seed: int) -> np.ndarray:
    """Indices [batch] of batch number `step` of an endless shuffle, the same on every machine."""
    if total < batch:
        raise ValueError(f"{total} pictures are too few for batches of {batch}: draw more.")
    per_epoch = total // batch
    order = np.random.default_rng([seed, step // per_epoch]).permutation(total)
    start = step % per_epoch * batch
    return order[start : start + batch]


@dataclass
class Pictures:
    """`count` drawn scenes in memory: pixels uint8 [N, size, size, 3], places [N, 3, 3]."""

    world: World
    first: int
    pixels: np.ndarray
    places: np.ndarray
    split: str = "train"

    @classmethod
    def drawn(
        cls,
        world: World,
        count: int,
        cache: Path,
        *,
        first: int = 0,
        split: str = "train",
        size: int = 128,
    ) -> "Pictures":
        """Draw scenes on all cores, or read them back from `cache` if they were drawn before."""
        stem = f"{split}-{first}-{count}-{size}-{len(world.things)}x{len(world.colours)}"
        stem += f"x{len(world.surroundings)}x{len(world.styles)}"
        pixel_file, place_file = cache / f"{stem}-pixels.npy", cache / f"{stem}-places.npy"
        if not place_file.exists():
            cache.mkdir(parents=True, exist_ok=True)
            draw_one = partial(render, world=world, split=split, size=size)
            with ProcessPoolExecutor(os.cpu_count()) as pool:
                drawn = list(pool.map(draw_one, range(first, first + count), chunksize=256))
            np.save(pixel_file, np.stack([pixels for pixels, _ in drawn]))
            np.save(place_file, np.stack([places for _, places in drawn]))
        pixels, places = np.load(pixel_file, mmap_mode="r"), np.load(place_file)
        return cls(world, first, pixels, places, split)

    def __len__(self) -> int:
        return len(self.pixels)

    def scene(self, i: int) -> Scene:
        return scene_number(self.first + int(i), self.world, self.split)

    def images(self, indices: np.ndarray) -> Tensor:
        """The pictures at `indices` as float32 [B, 3, size, size] in [-1, 1]."""
        pixels = torch.from_numpy(self.pixels[np.sort(indices)][np.argsort(np.argsort(indices))])
        return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1

    def simple(self) -> np.ndarray:
        """The indices of all pictures that show a single group of things."""
        single = [len(self.scene(i).groups) == 1 for i in range(len(self))]
        return np.flatnonzero(single)

    def thing_mask(self, indices: np.ndarray, size: int | None = None) -> Tensor:
        """1 where a thing is drawn (within its circle), else 0: float32 [B, 1, size, size].

        size: that of the pictures, or of their latents.
        """
        size = size or self.pixels.shape[1]
        axis = (torch.arange(size) + 0.5) / size
        x, y, radius = torch.from_numpy(self.places[indices]).unbind(-1)  # [B, 3] each
        dx = (axis - x[..., None])[:, :, None, :]
        dy = (axis - y[..., None])[:, :, :, None]
        inside = dx.square() + dy.square() < (1.1 * radius[..., None, None]).square()
        return inside.any(dim=1, keepdim=True).float()

    def captions(self, indices: np.ndarray, step: int) -> list[str]:
        """One caption a picture, in a wording that depends on the picture and the step."""
        return [self.scene(i).reworded(wording(i, step))[0] for i in indices]

    def near_captions(self, indices: np.ndarray, step: int) -> list[str]:
        """Captions that are nearly right: with one fact changed, or with two exchanged.

        They are the hard negatives of the contrastive training: the same bag of words, or all but
        one, and yet not this picture.
        """
        rng = np.random.default_rng([step, 1])
        scenes = [(self.scene(i), wording(i, step)) for i in indices]
        return [nearly_right(scene, self.world, rng, seed) for scene, seed in scenes]


def wording(index: int, step: int) -> int:
    """The seed of one picture's wording in one step."""
    return step * 1_000_000_007 + int(index)


def nearly_right(scene: Scene, world: World, rng: np.random.Generator, seed: int) -> str:
    """A caption with one fact wrong; drawn again where it leaves out just that fact."""
    true = wrong = scene.reworded(seed)[0]
    while wrong == true:
        wrong = one_fact_wrong(scene, world, rng).reworded(seed)[0]
    return wrong


def one_fact_wrong(scene: Scene, world: World, rng: np.random.Generator) -> Scene:
    """The scene with another thing, colour or place, or with those of two things exchanged."""
    kinds = ["thing", "colour"] + ["place"] * bool(scene.place) + ["swap"] * bool(scene.relation)
    kind, groups = kinds[rng.integers(len(kinds))], list(scene.groups)
    if kind == "place":
        return replace(scene, place=other(("left", "middle", "right"), scene.place, rng))
    if kind == "swap":
        what = ("thing", "colour")[rng.integers(2)]
        pairs = zip(groups, reversed(groups))
        groups = [replace(one, **{what: getattr(its, what)}) for one, its in pairs]
    else:
        choices = {"thing": world.things, "colour": world.colours}[kind]
        i = rng.integers(len(groups))
        groups[i] = replace(groups[i], **{kind: other(choices, getattr(groups[i], kind), rng)})
    return replace(scene, groups=tuple(groups))


def other(choices, taken, rng: np.random.Generator):
    """A random choice that is not `taken`."""
    rest = [choice for choice in choices if choice != taken]
    return rest[rng.integers(len(rest))]
