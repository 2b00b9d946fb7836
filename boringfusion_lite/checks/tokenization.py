"""Checks of page 01: a prompt's ids, the merges of a word, and what survives the cut."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import accumulate, pairwise
from random import Random

from torch import Tensor

from .. import bpe
from ..tokenizer import END, LENGTH, ROOM, START, Tokenizer
from .verdict import Wrong, ask, checks, expect

WORDS = (
    "photorealistic couch snowman's hippopotamus red, 1024 treehouse watercolor beside a".split()
)


@lru_cache(maxsize=1)
def tokenizer() -> Tokenizer:
    """The bundled one; every SD 1.x model has the same."""
    return Tokenizer.load()


@lru_cache(maxsize=1)
def clip_ranks() -> dict[bpe.Pair, int]:
    return bpe.ranked(bpe.read_merges())


# ---- one star: ids -----------------------------------------------------------------------------


@checks
def check_ids(yours: Callable) -> str:
    """`my_ids(prompt)`: the 77 ids of a prompt, as a list or a tensor, on 50 prompts."""
    prompts = list(hidden_prompts())
    for prompt in prompts:
        answer = ask(yours, prompt)
        answer = answer.flatten() if isinstance(answer, Tensor) else answer
        answer = [int(number) for number in answer]
        ids = [piece.id for piece in tokenizer().pieces(prompt)]
        wanted = [START, *ids[:ROOM], END] + [END] * (ROOM - len(ids))
        what = f"the ids of a prompt of {len(ids)} pieces"
        expect(answer, wanted, what, wrong_ids(ids))
    return f"{len(prompts)} prompts, from empty to twice too long, have the ids of the model"


def wrong_ids(ids: list[int]) -> dict[str, list[int]]:
    """What typical slips make of a prompt's ids."""
    pads = [END] * LENGTH
    kept = ids[:ROOM]
    return {
        f"It has no end token: of what is too long, keep {ROOM} pieces, not {ROOM + 1}, so that "
        "the end fits in behind them.": [START, *ids, *pads][:LENGTH],
        "The padding is 0, but this model pads with the end token, 49407.": (
            [START, *kept, END] + [0] * (ROOM - len(kept))
        ),
        "The start token in front is missing.": [*kept, END, *pads][:LENGTH],
        f"The padding is missing: the row must have {LENGTH} ids.": [START, *kept, END],
        f"Nothing is cut off: only {ROOM} pieces fit in.": [START, *ids, END],
    }


def hidden_prompts() -> Iterator[str]:
    """50 prompts, the short ones first; among them those that just fit and just do not."""
    rng = Random(31)
    yield from ("", "Couch", "a photo of a COUCH", "a " * ROOM, "a " * (ROOM + 1))
    for count in range(3, 93, 2):
        yield " ".join(rng.choices(WORDS, k=count))


# ---- two stars: merges -------------------------------------------------------------------------


@checks
def check_split(yours: Callable) -> str:
    """`my_split(word, ranks)`: the pieces of a word, on 200 words and two lists of merges."""
    own = bpe.ranked([("b", "c"), ("c", "d"), ("a", "b"), ("d", "e</w>"), ("a", "a")])
    cases = [("abcde", own), ("aaa", own), ("a", own)]
    cases += [(word, clip_ranks()) for word in hidden_words(200)]
    for word, ranks in cases:
        wanted, answer = bpe.split(word, ranks), list(ask(yours, word, ranks))
        if answer != wanted:
            expect(answer, wanted, f"the pieces of {word!r}", wrong_pieces(word, ranks))
    return f"{len(cases)} words fall into the pieces that the model gets"


def wrong_pieces(word: str, ranks: dict[bpe.Pair, int]) -> dict[str, list[str]]:
    """What typical slips make of a word."""
    signs = bpe.letters(word)
    bare = [bpe.ALPHABET[byte] for byte in word.encode()]
    return {
        "Nothing is merged.": signs,
        "The end of the word is not marked: its last letter carries </w> from the beginning.": (
            merged(bare, ranks, lambda known: min(known, key=ranks.get))
        ),
        "The leftmost pair that is known was merged; take the one with the lowest rank.": (
            merged(signs, ranks, lambda known: known[0])
        ),
        "The pair with the highest rank was merged; low ranks were learned first and go first.": (
            merged(signs, ranks, lambda known: max(known, key=ranks.get))
        ),
        "Only one merge was made: go on until no pair is in the list.": (
            next((state for n, state in enumerate(bpe.steps(word, ranks)) if n == 1), [])
        ),
    }


def merged(pieces: list[str], ranks: dict[bpe.Pair, int], pick: Callable) -> list[str]:
    """The pieces after all merges, where `pick` says which pair comes next."""
    while known := [pair for pair in pairwise(pieces) if pair in ranks]:
        pieces = bpe.fuse(pieces, pick(known))
    return pieces


def hidden_words(count: int) -> list[str]:
    """Compounds of two words out of CLIP's list, so that most have several pieces."""
    rng = Random(32)
    whole = ["".join(pair)[:-4] for pair in clip_ranks() if pair[1].endswith("</w>")]
    whole = [word for word in whole if word.isascii() and word.isalpha()]
    return ["".join(rng.choices(whole, k=2)) for _ in range(count)]


# ---- three stars: the cut ----------------------------------------------------------------------


@checks
def check_survives(yours: Callable) -> str:
    """`my_survives(prompt, i)`: does word i, counted from 0, reach the model whole?"""
    cases, answers = list(hidden_places()), []
    for prompt, place, *_ in cases:
        answers.append(bool(ask(yours, prompt, place)))
    wanted = [end <= ROOM for *_, end in cases]
    if answers == wanted:
        return f"{len(cases)} words of long prompts, those at the cut included"
    slips = {
        "It counts words; the places are taken by pieces, and a word may have several.": (
            [place < ROOM for _, place, *_ in cases]
        ),
        f"It counts {LENGTH} places; start and end take two of them, so {ROOM} are left.": (
            [end <= LENGTH for *_, end in cases]
        ),
        "It asks where the word begins; a word that is cut in two does not arrive whole.": (
            [begin < ROOM for *_, begin, _ in cases]
        ),
        f"A word whose last piece is number {ROOM} does arrive: is it < instead of <=?": (
            [end < ROOM for *_, end in cases]
        ),
        f"It only asks whether the whole prompt fits into {ROOM} places.": (
            [len(tokenizer().pieces(prompt)) <= ROOM for prompt, *_ in cases]
        ),
    }
    for reason, outcome in slips.items():
        if answers == outcome:
            raise Wrong(reason)
    number = next(n for n, pair in enumerate(zip(answers, wanted)) if pair[0] != pair[1])
    _, place, begin, end = cases[number]
    raise Wrong(
        f"word {place} of a prompt takes pieces {begin + 1} to {end} of it, so {wanted[number]} is "
        f"expected, and {answers[number]} came."
    )


def hidden_places() -> Iterator[tuple[str, int, int, int]]:
    """(prompt, number of a word, pieces before it, pieces up to its end), most near the cut."""
    rng = Random(33)
    prompts = ["a photo of a couch", "a " * ROOM, "a " * 90, "a " * (ROOM - 1) + "hippopotamus"]
    prompts += [" ".join(rng.choices(WORDS, k=80)) for _ in range(12)]
    for prompt in prompts:
        ends = [0, *accumulate(len(ids) for _, ids in tokenizer().words(prompt))]
        for place, (begin, end) in enumerate(pairwise(ends)):
            if place < 2 or abs(end - ROOM) < 5 or place == len(ends) - 2:
                yield prompt, place, begin, end
