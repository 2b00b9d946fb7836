"""The toy world's grammar: scenes as values, with their captions, labels and pictures.

A scene is drawn from a seed, all its factors independent and near uniform. Its caption is worded
anew each time and now and then leaves something out; its labels hold exactly what the caption says.
About 15 % of the (thing, colour) pairs are never in the training split: they measure whether a
model has understood the parts well enough to combine them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from random import Random

from PIL.Image import Image

from . import drawing
from .captions import OPPOSITE, PLACE_WORDS, SIZE_WORDS, worded
from .captions import vocabulary as vocabulary
from .drawing import Placed
from .layout import DIAMETERS, alone, in_a_row, related

OMIT = {"style": 0.1, "surroundings": 0.1, "place": 0.3, "colour": 0.1}
SALT = "boringfusion 505"  # keeps the pairs of the documentation's prompts in training

# ---- worlds --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """The names that scenes are made of; ValueError for one that cannot be drawn."""

    things: tuple[str, ...]
    colours: tuple[str, ...]
    surroundings: tuple[str, ...]
    styles: tuple[str, ...]

    def __post_init__(self):
        for kind, table in (
            ("things", drawing.THINGS),
            ("colours", drawing.COLOURS),
            ("surroundings", drawing.SURROUNDINGS),
            ("styles", drawing.STYLES),
        ):
            _check_names(kind, getattr(self, kind), table)


def _check_names(kind: str, names: Iterable[str], table: Iterable[str]):
    unknown = [name for name in names if name not in table]
    if unknown:
        raise ValueError(f"{kind} {unknown} are not in the world: use some of {', '.join(table)}")


WORLD = World(*map(tuple, (drawing.THINGS, drawing.COLOURS, drawing.SURROUNDINGS, drawing.STYLES)))
STARTER = World(
    tuple("couch house tree sun car boat fish cat flower star mushroom rocket".split()),
    tuple("red orange yellow green blue purple white black".split()),
    ("plain white", "plain blue", "at night", "at sunset", "in the snow", "in a meadow"),
    ("flat drawing", "photorealistic", "pencil sketch"),
)


def _score(*words: str) -> float:
    """A number in [0, 1) fixed for ever by the words."""
    return int.from_bytes(sha256(" ".join((SALT, *words)).encode()).digest()[:6]) / 2**48


@lru_cache
def _held_out_colours(thing: str) -> frozenset[str]:
    ranked = sorted(drawing.COLOURS, key=lambda colour: _score(thing, colour))
    return frozenset(ranked[: 1 if _score(thing) < 1 / 3 else 2])


def held_out(thing: str, colour: str) -> bool:
    """Whether the pair is kept from training: one or two colours of every thing, about 15 %."""
    _check_names("thing", [thing], drawing.THINGS)
    _check_names("colour", [colour], drawing.COLOURS)
    return colour in _held_out_colours(thing)


# ---- scenes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """What one noun phrase says: `count` (1 to 3) of a thing in one colour and size."""

    thing: str
    colour: str
    size: str = "medium"
    count: int = 1


@dataclass(frozen=True)
class Scene:
    """One picture as a value: one or two groups, where they are, what is round them, how drawn.

    `place` (left, middle, right) belongs to a single thing; `relation` (left of, right of, above,
    below) leads from the first group to the second. ValueError where the parts do not fit.
    """

    groups: tuple[Group, ...]
    place: str | None
    relation: str | None
    surroundings: str
    style: str
    seed: int = 0

    def __post_init__(self):
        groups = self.groups
        World(
            tuple(g.thing for g in groups),
            tuple(g.colour for g in groups),
            (self.surroundings,),
            (self.style,),
        )
        _check_names("sizes", [group.size for group in groups], DIAMETERS)
        _check_names("places", [self.place] if self.place else [], PLACE_WORDS)
        _check_names("relations", [self.relation] if self.relation else [], OPPOSITE)
        counts = [group.count for group in groups]
        if not (counts == [1, 1] if self.relation else len(counts) == 1 and counts[0] in (1, 2, 3)):
            raise ValueError(
                "a scene holds one group of one to three things, or two groups of one "
                f"thing each with a relation; got {groups}, {self.relation!r}"
            )
        if self.place and counts != [1]:
            raise ValueError(f"place {self.place!r} is for a single thing; leave it None")

    @property
    def placed(self) -> tuple[Placed, ...]:
        """Every thing with its centre and radius in picture widths; nothing overlaps."""
        rng = Random(f"placed {self.seed}")
        if len(self.groups) == 2:
            return related(self.groups, self.relation, rng)
        if self.groups[0].count > 1:
            return in_a_row(self.groups[0], rng)
        return alone(self.groups[0], self.place, rng)

    @property
    def caption(self) -> str:
        """The scene in words, the same for the same scene."""
        return self.reworded(self.seed)[0]

    @property
    def labels(self) -> dict:
        """What the caption says: groups (thing, colour, size, count), place, relation,
        surroundings, style; None for what it does not say."""
        return self.reworded(self.seed)[1]

    def reworded(self, seed: int) -> tuple[str, dict]:
        """Another caption of the same picture, with its labels."""
        rng = Random(f"words {seed}")
        omitted = {
            clause for clause in ("style", "surroundings", "place") if rng.random() < OMIT[clause]
        }
        omitted |= {i for i in range(len(self.groups)) if rng.random() < OMIT["colour"]}
        return worded(self, omitted, rng), _labels(self, omitted)

    def draw(self, size: int = 128) -> Image:
        """The picture, RGB, size x size."""
        return drawing.draw(self.placed, self.surroundings, self.style, size=size, seed=self.seed)


@lru_cache
def _pairs(world: World, split: str) -> tuple[tuple[str, str], ...]:
    """The (thing, colour) pairs of a split: those that may lead a scene."""
    if split not in ("train", "held-out", "all"):
        raise ValueError(f"unknown split {split!r}: use 'train', 'held-out' or 'all'")
    wanted = {"train": (False,), "held-out": (True,), "all": (False, True)}[split]
    return tuple(
        (thing, colour)
        for thing in world.things
        for colour in world.colours
        if held_out(thing, colour) in wanted
    )


def _pick(pairs: Sequence[tuple[str, str]], split: str, rng: Random) -> tuple[str, str]:
    if not pairs:
        raise ValueError(
            f"this world has too few pairs for a scene of the split {split!r}: "
            "give it more things and colours"
        )
    return rng.choice(pairs)


def random_scene(seed: int, world: World = WORLD, split: str = "train") -> Scene:
    """The scene of a seed: 40 % one group, 60 % two; other factors near uniform.

    split: "train" never shows a held-out pair, "held-out" at least one a scene, "all" any.
    Raises ValueError for an unknown split or a world too small for it.
    """
    rng = Random(f"scene {seed}")
    thing, colour = _pick(_pairs(world, split), split, rng)
    place = relation = None
    if rng.random() < 0.4:
        count = rng.choice((1, 1, 2, 3))
        size = rng.choice(tuple(DIAMETERS)) if count == 1 else "medium"
        place = rng.choice(tuple(PLACE_WORDS)) if count == 1 else None
        groups = (Group(thing, colour, size, count),)
    else:
        others = [
            pair
            for pair in _pairs(world, "train" if split == "train" else "all")
            if pair[0] != thing and pair[1] != colour
        ]
        pairs = [(thing, colour), _pick(others, split, rng)]
        rng.shuffle(pairs)
        sizes = rng.choices(tuple(DIAMETERS), (0.2, 0.6, 0.2), k=2)
        groups = tuple(Group(*pair, size) for pair, size in zip(pairs, sizes, strict=True))
        relation = rng.choice(tuple(OPPOSITE))
    return Scene(
        groups, place, relation, rng.choice(world.surroundings), rng.choice(world.styles), seed
    )


def _labels(scene: Scene, omitted: set) -> dict:
    groups = [
        {
            "thing": group.thing,
            "colour": None if i in omitted else group.colour,
            "size": group.size if SIZE_WORDS[group.size] else None,
            "count": group.count,
        }
        for i, group in enumerate(scene.groups)
    ]
    said = {
        clause: None if clause in omitted else getattr(scene, clause)
        for clause in ("place", "relation", "surroundings", "style")
    }
    return {"groups": groups, **said}
