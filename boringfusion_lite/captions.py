"""What may be said of a scene: the words for every name of the toy world, and the sentences.

A caption is worded anew for each random stream: synonyms, the order of the clauses, the side from
which a relation is told. Groups, scenes and worlds themselves are defined in `scenes`.
"""

from itertools import chain
from random import Random

# ---- words: each name of the world with the ways to say it ---------------------------------------

THING_WORDS = {"couch": ("couch", "sofa"), "cup": ("cup", "mug"), "boat": ("boat", "sailboat")}
PLURALS = {"couch": "couches", "fish": "fish", "snowman": "snowmen"}
COLOUR_WORDS = {"gray": ("gray", "grey")}
SIZE_WORDS = {"small": ("small", "little"), "medium": (), "big": ("big", "large")}
COUNT_WORDS = {1: "one", 2: "two", 3: "three"}
PLACE_WORDS = {
    "left": ("on the left", "on the left side", "at the left"),
    "middle": ("in the middle", "in the center", "in the centre"),
    "right": ("on the right", "on the right side", "at the right"),
}
RELATION_WORDS = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under", "beneath"),
}
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
SURROUNDINGS_WORDS = {
    "at night": ("at night", "by night", "at nighttime"),
    "at sunset": ("at sunset", "at dusk"),
    "in the snow": ("in the snow", "in a snowy landscape"),
    "on the beach": ("on the beach", "at the beach"),
    "in a meadow": ("in a meadow", "in a grassy meadow"),
    "in a room": ("in a room", "inside a room"),
}
PLAIN_WORDS = ("on a plain {} background", "on plain {}", "in front of a plain {} background")
STYLE_LEADS = {
    "flat drawing": ("a flat drawing of", "a drawing of", "an illustration of", "drawing of"),
    "photorealistic": ("photo of", "a photo of", "a photograph of", "a realistic photo of"),
    "pencil sketch": ("a pencil sketch of", "a sketch of", "a pencil drawing of", "sketch of"),
    "watercolor": ("a watercolor of", "a watercolor painting of", "a painting of"),
    "pixel art": ("pixel art of", "a pixel art picture of"),
}
STYLE_TAGS = {
    "flat drawing": ("flat drawing", "flat illustration"),
    "photorealistic": ("photorealistic", "realistic photo"),
    "pencil sketch": ("pencil sketch", "pencil drawing"),
    "watercolor": ("watercolor", "watercolor painting"),
    "pixel art": ("pixel art",),
}
NEUTRAL_LEADS = ("", "a picture of", "an image of", "picture of")
SENTENCE_LEADS = ("there is", "there are")


# ---- sentences ----------------------------------------------------------------------------------


def said_surroundings(name: str) -> tuple[str, ...]:
    """The ways to say where a scene is."""
    if name.startswith("plain "):
        return tuple(pattern.format(name.removeprefix("plain ")) for pattern in PLAIN_WORDS)
    return SURROUNDINGS_WORDS[name]


def _plural(word: str) -> str:
    return PLURALS.get(word, word + "s")


def _noun_phrase(group, coloured: bool, rng: Random) -> str:
    """One group in words, "a big red couch" or "three sofas"; medium size is never said."""
    word = rng.choice(THING_WORDS.get(group.thing, (group.thing,)))
    words = [rng.choice(SIZE_WORDS[group.size])] if SIZE_WORDS[group.size] else []
    words += [rng.choice(COLOUR_WORDS.get(group.colour, (group.colour,)))] if coloured else []
    words += [word if group.count == 1 else _plural(word)]
    article = "an" if words[0][0] in "aeiou" else "a"
    return " ".join([article if group.count == 1 else COUNT_WORDS[group.count], *words])


def _subject(scene, omitted: set, rng: Random) -> str:
    phrases = [_noun_phrase(group, i not in omitted, rng) for i, group in enumerate(scene.groups)]
    if not scene.relation:
        return phrases[0]
    relation = scene.relation
    if rng.random() < 0.5:  # the same fact from the other side
        phrases, relation = phrases[::-1], OPPOSITE[relation]
    return f" {rng.choice(RELATION_WORDS[relation])} ".join(phrases)


def worded(scene, omitted: set, rng: Random) -> str:
    """The scene as a caption: lead and subject, the clauses on place, surroundings and style round
    them. `omitted` names the clauses left out, and groups (by index) told without colour."""
    subject = _subject(scene, omitted, rng)
    wheres = []
    if scene.place and "place" not in omitted:
        wheres.append(rng.choice(PLACE_WORDS[scene.place]))
    if "surroundings" not in omitted:
        wheres.append(rng.choice(said_surroundings(scene.surroundings)))
    rng.shuffle(wheres)
    lead, tag = rng.choice(NEUTRAL_LEADS), None
    if rng.random() < 0.12:
        lead = SENTENCE_LEADS[scene.groups[0].count > 1]
    if "style" not in omitted:
        form = rng.choice(("lead", "tag", "tag", "both"))
        lead = rng.choice(STYLE_LEADS[scene.style]) if form != "tag" else lead
        tag = rng.choice(STYLE_TAGS[scene.style]) if form != "lead" else None
    front = [wheres.pop()] if wheres and rng.random() < 0.12 else []
    if tag and rng.random() < 0.15:
        front, tag = [tag, *front], None
    text = f"{lead} {subject}".strip()
    for where in wheres:
        text += rng.choice((" ", " ", ", ")) + where
    return ", ".join([*front, text, *([tag] if tag else [])])


def vocabulary(world) -> set[str]:
    """Every word that a caption of the world can hold, without punctuation."""
    things = [word for thing in world.things for word in THING_WORDS.get(thing, (thing,))]
    phrases = chain(
        things,
        map(_plural, things),
        COUNT_WORDS.values(),
        ("a", "an"),
        NEUTRAL_LEADS,
        SENTENCE_LEADS,
        *(COLOUR_WORDS.get(colour, (colour,)) for colour in world.colours),
        *SIZE_WORDS.values(),
        *PLACE_WORDS.values(),
        *RELATION_WORDS.values(),
        *map(said_surroundings, world.surroundings),
        *(STYLE_LEADS[style] + STYLE_TAGS[style] for style in world.styles),
    )
    return {word for phrase in phrases for word in phrase.split()} - {"one"}
