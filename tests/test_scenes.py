"""The toy world: captions tell the truth, pictures show it, the splits keep what they promise."""

from collections import Counter
from itertools import combinations, islice
from random import Random

import numpy as np
import pytest

from boringfusion_lite import captions, drawing, scenes
from boringfusion_lite.drawing import Placed, draw
from boringfusion_lite.scenes import STARTER, WORLD, Group, Scene, World, held_out, random_scene

MANY = [random_scene(seed) for seed in range(2000)]


def words(caption):
    return caption.replace(",", "").split()


def says(caption, phrases):
    """Whether one of the phrases stands in the caption, as whole words."""
    return any(f" {phrase} " in f" {' '.join(words(caption))} " for phrase in phrases)


def test_the_world_is_as_large_as_promised():
    assert len(WORLD.things) >= 27 and len(WORLD.colours) == 11
    assert len(WORLD.surroundings) >= 9 and len(WORLD.styles) >= 5
    for field in ("things", "colours", "surroundings", "styles"):
        assert set(getattr(STARTER, field)) <= set(getattr(WORLD, field))


def test_a_seed_is_a_scene():
    for seed in (0, 7, 123456789):
        first, again = random_scene(seed), random_scene(seed)
        assert first == again and first.caption == again.caption and first.labels == again.labels
        assert np.array_equal(first.draw(), again.draw())
    assert random_scene(1) != random_scene(2)
    scene = random_scene(0)
    assert len({scene.reworded(seed)[0] for seed in range(50)}) > 25


def test_a_scene_stays_what_it_was():
    """Trained weights depend on these: change them only together with a new training run."""
    assert random_scene(0).groups == (Group("table", "orange", count=3),)
    assert random_scene(0).caption.startswith("picture of three orange tables")
    assert sum(held_out(t, c) for t in WORLD.things for c in WORLD.colours) == 47


@pytest.mark.parametrize("world", [WORLD, STARTER])
@pytest.mark.parametrize("split", ["train", "held-out"])
def test_splits(world, split):
    for seed in range(500):
        scene = random_scene(seed, world, split)
        kept = [held_out(group.thing, group.colour) for group in scene.groups]
        assert any(kept) == (split == "held-out")
        assert all(group.thing in world.things for group in scene.groups)
        assert scene.surroundings in world.surroundings and scene.style in world.styles


def test_held_out_pairs_leave_enough_of_everything():
    for world, least in ((WORLD, 8), (STARTER, 6)):
        pairs = [(t, c) for t in world.things for c in world.colours if not held_out(t, c)]
        assert min(Counter(thing for thing, _ in pairs).values()) >= least
        assert 0.13 < 1 - len(pairs) / len(world.things) / len(world.colours) < 0.17
    kept = Counter(c for c in WORLD.colours for t in WORLD.things if not held_out(t, c))
    assert min(kept.values()) >= 22
    for pair in (("couch", "red"), ("couch", "blue"), ("house", "red"), ("sun", "yellow")):
        assert not held_out(*pair)


def test_factors_are_near_uniform():
    def even(values, names, tolerance=0.35):
        counts, fair = Counter(values), len(values) / len(names)
        assert set(counts) == set(names)
        assert all(abs(count / fair - 1) < tolerance for count in counts.values()), counts

    groups = [group for scene in MANY for group in scene.groups]
    even([group.thing for group in groups], WORLD.things)
    even([group.colour for group in groups], WORLD.colours)
    even([scene.style for scene in MANY], WORLD.styles)
    even([scene.surroundings for scene in MANY], WORLD.surroundings)
    even([scene.relation for scene in MANY if scene.relation], captions.OPPOSITE)
    even([scene.place for scene in MANY if scene.place], captions.PLACE_WORDS)
    alone = [scene.groups[0] for scene in MANY if len(scene.groups) == 1]
    even([group.size for group in alone if group.count == 1], scenes.DIAMETERS)
    assert 0.36 < len(alone) / len(MANY) < 0.44
    assert 0.44 < sum(group.count == 1 for group in alone) / len(alone) < 0.56


def test_labels_are_what_the_caption_says():
    for scene in MANY:
        caption, labels = scene.caption, scene.labels
        assert len(labels["groups"]) == len(scene.groups)
        for group, label in zip(scene.groups, labels["groups"], strict=True):
            names = captions.THING_WORDS.get(group.thing, (group.thing,))
            if group.count > 1:
                names = [captions.PLURALS.get(name, name + "s") for name in names]
                assert says(caption, [captions.COUNT_WORDS[group.count]])
            assert label["thing"] == group.thing and label["count"] == group.count
            said = [captions.COLOUR_WORDS.get(group.colour, (group.colour,)), names]
            said = said if label["colour"] else said[1:]
            if label["size"]:
                said.insert(0, captions.SIZE_WORDS[group.size])
            phrases = [""]
            for choices in said:
                phrases = [f"{start} {word}".strip() for start in phrases for word in choices]
            assert says(caption, phrases), (caption, labels)
        for clause, ways in (
            ("place", captions.PLACE_WORDS.get(scene.place, ())),
            ("surroundings", captions.said_surroundings(scene.surroundings)),
            ("style", captions.STYLE_LEADS[scene.style] + captions.STYLE_TAGS[scene.style]),
        ):
            assert labels[clause] in (None, getattr(scene, clause))
            assert says(caption, ways) == (labels[clause] is not None), (caption, clause)


def test_a_relation_may_be_told_from_either_side():
    for scene in [scene for scene in MANY if scene.relation]:
        mentioned = sorted(
            (min(words(scene.caption).index(way) for way in ways if way in words(scene.caption)), i)
            for i, group in enumerate(scene.groups)
            for ways in [captions.THING_WORDS.get(group.thing, (group.thing,))]
        )
        turned = mentioned[0][1] == 1
        told = captions.OPPOSITE[scene.relation] if turned else scene.relation
        assert says(scene.caption, captions.RELATION_WORDS[told])
        assert scene.labels["relation"] == scene.relation


def test_captions_leave_out_as_much_as_planned():
    labels = [scene.labels for scene in MANY]
    for clause in ("style", "surroundings"):
        assert 0.07 < np.mean([label[clause] is None for label in labels]) < 0.13
    colours = [group["colour"] is None for label in labels for group in label["groups"]]
    assert 0.07 < np.mean(colours) < 0.13
    places = [label["place"] is None for scene, label in zip(MANY, labels) if scene.place]
    assert 0.2 < np.mean(places) < 0.4
    lengths = [len(words(scene.caption)) for scene in MANY]
    assert max(lengths) <= 40 and 8 <= np.median(lengths) <= 22


@pytest.mark.parametrize("world", [WORLD, STARTER])
def test_vocabulary_is_exact(world):
    seen = set()
    for seed in range(2500):
        scene = random_scene(seed, world)
        caption = scene.reworded(seed + 1)[0]
        assert caption == caption.lower() and "  " not in caption
        seen.update(words(caption))
    assert seen <= scenes.vocabulary(world)
    if world is STARTER:
        assert seen == scenes.vocabulary(world)


@pytest.mark.parametrize(
    "prompt, scene, omitted",
    [
        (
            "photo of a couch, photorealistic",
            Scene((Group("couch", "red"),), "middle", None, "in a room", "photorealistic"),
            {0, "place", "surroundings"},
        ),
        (
            "a red house under a yellow sun",
            Scene(
                (Group("sun", "yellow"), Group("house", "red")),
                None,
                "above",
                "in a meadow",
                "watercolor",
            ),
            {"surroundings", "style"},
        ),
        (
            "two purple fish at night, watercolor",
            Scene((Group("fish", "purple", count=2),), None, None, "at night", "watercolor"),
            set(),
        ),
    ],
)
def test_the_documented_prompts_can_be_said(prompt, scene, omitted):
    assert any(captions.worded(scene, omitted, Random(seed)) == prompt for seed in range(4000))


def test_things_are_where_the_scene_says():
    for scene in MANY:
        placed = scene.placed
        assert len(placed) == sum(group.count for group in scene.groups)
        for thing in placed:
            assert thing.radius > 0.11
            assert thing.radius <= min(thing.x, thing.y, 1 - thing.x, 1 - thing.y)
        for a, b in combinations(placed, 2):
            gap = max(abs(a.x - b.x), abs(a.y - b.y)) - a.radius - b.radius
            assert gap > 7.9 / 128
        if scene.relation:
            (a, b), near = placed, 0.09
            dx, dy = b.x - a.x, b.y - a.y
            if scene.relation in ("left of", "right of"):
                assert (dx > 0) == (scene.relation == "left of") and abs(dy) < near
            else:
                assert (dy > 0) == (scene.relation == "above") and abs(dx) < near
        if scene.place:
            third = {"left": (0, 0.34), "middle": (0.4, 0.6), "right": (0.66, 1)}[scene.place]
            assert third[0] < placed[0].x < third[1]


@pytest.mark.parametrize("style", WORLD.styles)
def test_every_thing_shows_and_keeps_within_its_radius(style):
    """Inside its box a thing changes the picture clearly, outside at most by its soft shadow."""
    for i, thing in enumerate(WORLD.things):
        place = WORLD.surroundings[i % len(WORLD.surroundings)]
        colour = WORLD.colours[i % len(WORLD.colours)]
        empty = np.asarray(draw([], place, style, seed=i), int)
        item = Placed(thing, colour, "medium", 0.5, 0.5, 22 / 128)
        changed = np.abs(np.asarray(draw([item], place, style, seed=i), int) - empty).max(2)
        assert (changed > 24).sum() > 200, (thing, style)
        shadow = 4 if style == "photorealistic" else 0
        changed[40 : 88 + shadow, 40 - shadow : 88 + shadow] = 0
        assert not (changed > 24).any(), (thing, style)


@pytest.mark.parametrize("style", WORLD.styles)
def test_every_colour_can_be_told_from_the_others(style):
    """The mean colour of a thing's body differs from colour to colour in every style."""
    means = {}
    for colour in WORLD.colours:
        item = Placed("heart", colour, "big", 0.5, 0.5, 0.3)
        pixels = np.asarray(draw([item], "plain blue", style), float)
        means[colour] = pixels[45:80, 45:83].mean((0, 1))
    for a, b in combinations(means, 2):
        assert np.abs(means[a] - means[b]).max() > 30, (style, a, b)


def test_things_have_silhouettes_of_their_own():
    masks = {}
    for thing in WORLD.things:
        item = Placed(thing, "black", "big", 0.5, 0.5, 0.4)
        picture = np.asarray(draw([item], "plain white", "flat drawing", size=64), int)
        masks[thing] = picture.min(2) < 215
    for a, b in combinations(masks, 2):
        pairs = (masks[b], masks[b][:, ::-1])
        overlap = max((masks[a] & m).sum() / (masks[a] | m).sum() for m in pairs)
        assert overlap < 0.9, (a, b)


@pytest.mark.parametrize("size", [16, 50, 64, 96])
def test_any_size_can_be_drawn(size):
    for scene in islice(MANY, 40):
        picture = scene.draw(size)
        assert picture.size == (size, size) and picture.mode == "RGB"


@pytest.mark.parametrize(
    "attempt, message",
    [
        (lambda: random_scene(0, split="test"), "unknown split 'test'"),
        (lambda: held_out("dragon", "red"), "dragon"),
        (lambda: World(("couch",), ("mauve",), (), ()), "mauve"),
        (
            lambda: random_scene(
                0, World(("couch",), ("red",), ("at night",), ("pixel art",)), "held-out"
            ),
            "too few pairs",
        ),
        (lambda: Scene((), None, None, "at night", "pixel art"), "one group"),
        (lambda: draw([], "at noon", "pixel art"), "unknown surroundings 'at noon'"),
        (lambda: draw([], "at night", "cubism"), "unknown style 'cubism'"),
        (lambda: draw([], "at night", "pixel art", size=8), "16 or more"),
        (
            lambda: draw([Placed("dragon", "red", "big", 0.5, 0.5, 0.2)], "at night", "pixel art"),
            "unknown thing 'dragon'",
        ),
        (
            lambda: draw([Placed("cat", "red", "big", 0.5, 0.5, 0)], "at night", "pixel art"),
            "radius 0",
        ),
    ],
)
def test_bad_input_is_named(attempt, message):
    with pytest.raises(ValueError, match=message):
        attempt()
    assert drawing.draw([], "at night", "pixel art").size == (128, 128)
