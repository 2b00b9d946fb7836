"""The checkers of page 01 on right answers and on typical wrong ones; and its figures."""

from io import BytesIO
from itertools import pairwise

import pytest
import torch
from PIL import Image

from boringfusion_lite import bpe, checks, plots
from boringfusion_lite.tokenizer import END, LENGTH, ROOM, START

COUCH = "photo of a couch, photorealistic"


@pytest.fixture(scope="module")
def ids(tokenizer):
    return lambda prompt: [piece.id for piece in tokenizer.pieces(prompt)]


@pytest.fixture(scope="module")
def ranks():
    return bpe.ranked(bpe.read_merges())


def filled(row, pad=END):
    return [*row, *[pad] * (LENGTH - len(row))]


def test_ids(ids, tokenizer):
    right = checks.check_ids(lambda prompt: filled([START, *ids(prompt)[:ROOM], END]))
    assert right.passed and "50 prompts" in right.message
    assert checks.check_ids(tokenizer).passed  # a tensor [1, 77] is as good
    assert checks.check_ids(lambda prompt: None).passed is None


@pytest.mark.parametrize(
    ("slip", "cause"),
    [
        (lambda row: filled([START, *row])[:LENGTH], "no end token"),
        (lambda row: filled([START, *row[:ROOM], END], pad=0), "padding is 0"),
        (lambda row: filled([*row[:ROOM], END]), "start token in front is missing"),
        (lambda row: [START, *row[:ROOM], END], "padding is missing"),
        (lambda row: filled([START, *row, END]), "Nothing is cut off"),
        (lambda row: row, "expected [49406"),
    ],
)
def test_wrong_ids(ids, slip, cause):
    verdict = checks.check_ids(lambda prompt: slip(ids(prompt)))
    assert verdict.passed is False and cause in verdict.message


def splitting(pieces_of, pick):
    def split(word, ranks):
        pieces = pieces_of(word)
        while known := [pair for pair in pairwise(pieces) if pair in ranks]:
            pieces = bpe.fuse(pieces, pick(known, ranks))
        return pieces

    return split


def lowest(known, ranks):
    return min(known, key=ranks.get)


def test_split():
    assert checks.check_split(splitting(bpe.letters, lowest)).passed
    assert checks.check_split(lambda word, ranks: ...).passed is None


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        (splitting(list, lowest), "end of the word is not marked"),
        (splitting(bpe.letters, lambda known, ranks: known[0]), "leftmost pair"),
        (splitting(bpe.letters, lambda known, ranks: max(known, key=ranks.get)), "highest rank"),
        (lambda word, ranks: bpe.letters(word), "Nothing is merged"),
        (lambda word, ranks: [word], "expected ['"),
    ],
)
def test_wrong_splits(wrong, cause):
    verdict = checks.check_split(wrong)
    assert verdict.passed is False and cause in verdict.message


def test_a_single_merge_is_not_enough():
    def once(word, ranks):
        return [*bpe.steps(word, ranks)][:2][-1]

    assert "Only one merge" in checks.check_split(once).message


def test_survives(tokenizer):
    def ends(prompt, i):
        return sum(len(ids) for _, ids in tokenizer.words(prompt)[: i + 1])

    def begins(prompt, i):
        return sum(len(ids) for _, ids in tokenizer.words(prompt)[:i])

    assert checks.check_survives(lambda prompt, i: ends(prompt, i) <= 75).passed
    assert checks.check_survives(lambda prompt, i: None).passed is None
    wrong = {
        "counts words": lambda prompt, i: i < 75,
        "counts 77": lambda prompt, i: ends(prompt, i) <= 77,
        "where the word begins": lambda prompt, i: begins(prompt, i) < 75,
        "instead of <=": lambda prompt, i: ends(prompt, i) < 75,
        "whole prompt": lambda prompt, i: not tokenizer.cut_tail(prompt),
        "True is expected, and False came": lambda prompt, i: False,
    }
    for cause, slip in wrong.items():
        verdict = checks.check_survives(slip)
        assert verdict.passed is False and cause in verdict.message


# ---- the figures of the page -------------------------------------------------------------------


def image(figure):
    assert figure.get_figwidth() == 9.0 and 20 < len(figure.get_label()) < 400
    return Image.open(BytesIO(plots.encoded(figure)))


@pytest.mark.parametrize("prompt", ["", COUCH, "a red house " * 40, "🙂 ﷽ 日本 $x$"])
def test_an_egg_box_has_77_slots_and_one_size(tokenizer, prompt):
    pieces = tokenizer.pieces(prompt)
    figure = plots.egg_box(pieces)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count(str(END)) == 76 - min(len(pieces), ROOM)
    assert texts.count("start") == texts.count(str(START)) == 1
    assert figure.get_label().endswith(
        f"{len(pieces) - ROOM} pieces cut off."
        if len(pieces) > ROOM
        else f"{ROOM - len(pieces)} times padding."
    )
    assert image(figure).size == (900, 420)


def test_egg_boxes_show_the_surplus(tokenizer):
    prompts = {f"{n} words": tokenizer.pieces("a " * n) for n in (6, 75, 200)}
    figure = plots.egg_boxes(prompts)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "75 words: 75 pieces, 0 cut off" in texts and "... and 70 more" in texts
    assert len(figure.axes[0].patches) == 3 * LENGTH + 55
    assert image(figure).size == (900, 360)


@pytest.mark.parametrize("word", ["photorealistic", "", "日本"])
def test_a_staircase_keeps_its_size(ranks, word):
    merges = len([*bpe.steps(word, ranks)]) - 1
    sizes = {image(plots.merge_staircase(word, ranks, n)).size for n in (None, 1)}
    assert sizes == {(900, 420)}
    texts = [text.get_text() for text in plots.merge_staircase(word, ranks).axes[0].texts]
    assert str(merges) in texts


def test_a_staircase_says_when_a_pair_was_learned(ranks):
    texts = [text.get_text() for text in plots.merge_staircase("couch", ranks).axes[0].texts]
    pair, rank = next((pair, rank) for pair, rank in ranks.items() if "".join(pair) == "couch</w>")
    assert f"no. {rank + 1:,}: {pair[0]} + {pair[1]}" in texts
    with pytest.raises(ValueError, match="too long to draw"):
        plots.merge_staircase("x" * 29, ranks)


def test_rows_and_bars_count_pieces(tokenizer):
    words = {word: [p.text for p in tokenizer.pieces(word)] for word in ("couch", "couhc")}
    bars = plots.piece_bars(words, "Two words")
    rows = plots.piece_rows({"once": words["couhc"], "more": words["couhc"] * 30}, "Two rows")
    assert "couch 1, couhc 2" in bars.get_label() and "more: 60 pieces" in rows.get_label()
    assert torch.tensor([image(figure).width for figure in (bars, rows)]).eq(900).all()
