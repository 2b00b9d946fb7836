"""Byte-pair encoding by hand: equal to transformers on any text, and what training promises."""

import json
import shutil
import unicodedata
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from boringfusion_lite import bpe
from boringfusion_lite.runtime import bundled_folder

FOLDER = bundled_folder() / "tokenizer"
TEXT = "low low low low low lowest lowest newer newer newer newer newer newer wider wider wider new"
# Characters that have kept their properties since Unicode 3.2, whatever the age of Python's tables
# and of those in Rust, and some younger ones that are alike in both.
OLD = [
    sign
    for sign in map(chr, range(0x30000))
    if unicodedata.ucd_3_2_0.category(sign) not in ("Cn", "Cs", "Co")
]
SIGNS = st.one_of(
    st.sampled_from([chr(code) for code in range(32, 127)]),
    st.sampled_from([chr(code) for code in range(0x300)]),
    st.sampled_from(OLD),
    st.sampled_from("🙂🎈🚀🇩🇪👩‍👧 \t\n\r\u00a0\u2003\u3000\x1c\x85\ufeff'’½²Ⅷ٣éİſßΣςẞ"),
)
LIKELY = st.text("acehinorst' .,7", max_size=60)
WORDS = ["couch", "Photorealistic", "it's", "we'LL", "1,024", "café", "snowman", "!!", "'", "</w>"]


@pytest.fixture(scope="module")
def merges():
    return bpe.read_merges()


@pytest.fixture(scope="module")
def ranks(merges):
    return bpe.ranked(merges)


@pytest.fixture(scope="module")
def ids(merges):
    return bpe.vocabulary(merges)


@pytest.fixture(scope="module")
def check(tokenizer, ranks, ids):
    """Both ways from a text to ids, compared."""

    def compare(text):
        assert bpe.encode(text, ranks, ids) == [piece.id for piece in tokenizer.pieces(text)]

    return compare


@settings(deadline=None, max_examples=1500)
@given(st.text(SIGNS, max_size=40))
def test_any_text_has_the_pieces_of_the_tokenizer(check, text):
    assume(not any(special in text for special in bpe.SPECIAL))
    check(text)


@settings(deadline=None, max_examples=1500)
@given(LIKELY)
def test_so_have_texts_of_frequent_letters(check, text):
    check(text)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(WORDS)), st.sampled_from([" ", "", "  ", "\n", "\t", "-"]))
def test_so_have_words_in_a_row(check, parts, gap):
    check(gap.join(parts))


@pytest.mark.parametrize(
    "text", ["", " ", "photo of a couch, photorealistic", "ab " * 200, "\ud800"]
)
def test_so_have_these(check, text):
    check(text)


def test_special_tokens_in_a_text_are_left_to_the_tokenizer(tokenizer):
    assert bpe.words("a <|endoftext|>") == ["a", "<|", "endoftext", "|>"]
    assert [piece.id for piece in tokenizer.pieces("a <|endoftext|>")] == [320, 49407]


def test_every_hundredth_piece_is_built_again(merges, ranks):
    for pair in merges[::100]:
        piece = "".join(pair)
        if piece.endswith("</w>") and piece.removesuffix("</w>").isascii():
            assert bpe.split(piece.removesuffix("</w>"), ranks) == [piece]


def test_the_vocabulary_is_clips(merges, ids):
    assert ids == json.loads((FOLDER / "vocab.json").read_text("utf-8"))
    assert len(merges) == 48_894 == 49_408 - 256 - 256 - 2
    assert max(ids.values()) == ids["<|endoftext|>"] == 49_407


def test_the_alphabet_is_gpt2s():
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    assert bpe.ALPHABET == bytes_to_unicode()
    assert len(set(bpe.ALPHABET.values())) == 256


def test_a_pass_through_the_whole_list_is_the_same_as_the_lowest_rank_first(merges, ranks):
    for word in ("photorealistic", "banana", "aaaaaaa"):
        pieces = bpe.letters(word)
        for pair in merges:
            pieces = bpe.fuse(pieces, pair)
        assert pieces == bpe.split(word, ranks)


def test_steps_go_from_letters_to_pieces(ranks):
    states = list(bpe.steps("photorealistic", ranks))
    assert states[0] == [*"photorealisti", "c</w>"]
    assert states[-1] == ["photo", "realistic</w>"] == bpe.split("photorealistic", ranks)
    for before, after in pairwise(states):
        assert "".join(before) == "".join(after) and len(after) < len(before)
    assert list(bpe.steps("", ranks)) == [[]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Photo of a COUCH,  it's\n25!",
            ["photo", "of", "a", "couch", ",", "it", "'s", "2", "5", "!"],
        ),
        ("they'll 'tis", ["they", "'ll", "'t", "is"]),
        ("!!'s", ["!!'", "s"]),
        ("²½Ⅷ", ["²", "½", "ⅷ"]),
        ("e\u0301", ["é"]),
        ("", []),
    ],
)
def test_words(text, words):
    assert bpe.words(text) == words


def test_letters_are_bytes():
    assert bpe.letters("cat") == ["c", "a", "t</w>"]
    assert bpe.letters("é") == ["Ã", "©</w>"]
    assert bpe.letters("") == []


@pytest.mark.parametrize(
    ("pieces", "pair", "fused"),
    [
        ("aaa", "aa", ["aa", "a"]),
        ("abcab", "ab", ["ab", "c", "ab"]),
        ("abab", "ba", ["a", "ba", "b"]),
        ("", "ab", []),
    ],
)
def test_fuse(pieces, pair, fused):
    assert bpe.fuse([*pieces], tuple(pair)) == fused


def test_the_worked_example():
    assert bpe.train("snow snowman snowball", 3) == [("s", "n"), ("sn", "o"), ("sno", "w")]
    assert bpe.train(TEXT, 3) == [("e", "r</w>"), ("l", "o"), ("n", "e")]


def test_training_equals_the_library_where_no_two_pairs_tie():
    from tokenizers import Tokenizer as Library
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.trainers import BpeTrainer

    text = " ".join(["ab"] * 20 + ["abc"] * 9 + ["cd"] * 5 + ["abcd"] * 3)
    library = Library(BPE())
    library.pre_tokenizer = Whitespace()
    trainer = BpeTrainer(end_of_word_suffix="</w>", show_progress=False, vocab_size=100)
    library.train_from_iterator([text], trainer)
    pairs = [tuple(pair) for pair in json.loads(library.to_str())["model"]["merges"]]
    assert bpe.train(text, 100) == pairs and len(pairs) == 5


@settings(deadline=None, max_examples=200)
@given(st.text("abc ", max_size=40), st.integers(0, 12))
def test_each_merge_is_a_most_frequent_pair(text, merges):
    learned = bpe.train(text, merges)
    corpus = [bpe.letters(word) for word in text.split()]
    for pair in learned:
        counts = Counter(both for pieces in corpus for both in pairwise(pieces))
        assert counts[pair] == max(counts.values())
        corpus = [bpe.fuse(pieces, pair) for pieces in corpus]
    assert len(learned) == merges or all(len(pieces) == 1 for pieces in corpus)
    ranks = bpe.ranked(learned)
    assert [bpe.split(word, ranks) for word in text.split()] == corpus


def test_more_merges_begin_with_the_fewer():
    assert bpe.train(TEXT, 8)[:5] == bpe.train(TEXT, 5) and bpe.train(TEXT, 0) == []
    assert bpe.train("", 5) == [] and len(bpe.train("ab", 5)) == 1


@pytest.mark.parametrize("wrong", [None, 3, b"snow", ["snow"]])
def test_only_text_has_words(wrong):
    with pytest.raises(TypeError, match="A text is a string, not"):
        bpe.words(wrong)


def test_fewer_than_no_merges():
    with pytest.raises(ValueError, match="0 or more, not -1"):
        bpe.train(TEXT, -1)


def test_merges_of_a_folder(tmp_path, merges):
    assert bpe.read_merges(FOLDER) == merges
    with pytest.raises(FileNotFoundError, match=r"no merges\.txt in"):
        bpe.read_merges(tmp_path)
    shutil.copy(FOLDER / "merges.txt", tmp_path)
    with (tmp_path / "merges.txt").open("a", encoding="utf-8") as file:
        file.write("a pair too many\n")
    with pytest.raises(ValueError, match="'a pair too many' is not a pair"):
        bpe.read_merges(tmp_path)
