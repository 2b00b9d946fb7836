"""The tokenizer: worked examples, equality with transformers, and text of every kind."""

import importlib.util
import json
import shutil

import pytest
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boringfusion_lite.runtime import bundled_folder
from boringfusion_lite.tokenizer import END, START, Piece, Tokenizer

FOLDER = bundled_folder() / "tokenizer"
COUCH = "photo of a couch, photorealistic"
COUCH_ROW = [START, 1125, 539, 320, 12724, 267, 1153, 16157] + [END] * 69


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.load()


@pytest.fixture(scope="module")
def clip():
    """The tokenizer as diffusers' pipeline opens it."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(FOLDER)


@pytest.fixture
def folder(tmp_path):
    """A copy of the vocabulary to break."""
    return shutil.copytree(FOLDER, tmp_path / "tokenizer")


def test_the_couch(tokenizer):
    ids = tokenizer(COUCH)
    assert ids.dtype == torch.long and ids.tolist() == [COUCH_ROW]
    assert tokenizer.pieces(COUCH)[-2:] == [Piece("photo", 1153), Piece("realistic</w>", 16157)]
    assert tokenizer.words(COUCH)[-2:] == [(",", [267]), ("photorealistic", [1153, 16157])]
    assert tokenizer.decode(ids[0]) == "photo of a couch , photorealistic"
    assert tokenizer.cut_tail(COUCH) == ""


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        (" \n\t ", []),
        ("Couch COUCH couch", [12724, 12724, 12724]),
        ("it's 25", [585, 568, 273, 276]),
        ("café", [15304]),
        ("\x00", [444]),
        ("🇩🇪", [21531]),
        ("\ud800", [286]),  # half a surrogate pair: "?"
    ],
)
def test_golden_ids(tokenizer, text, ids):
    assert [piece.id for piece in tokenizer.pieces(text)] == ids
    assert tokenizer(text).tolist() == [[START, *ids] + [END] * (76 - len(ids))]


def test_a_list_is_a_batch(tokenizer):
    prompts = [COUCH, "", "a red house"]
    assert torch.equal(tokenizer(prompts), torch.cat([tokenizer(prompt) for prompt in prompts]))
    assert tokenizer([]).shape == (0, 77)


def test_what_does_not_fit_is_shown(tokenizer):
    fits = "a " * 75
    assert tokenizer.cut_tail(fits) == ""
    assert tokenizer.cut_tail(fits + "Dragon, too") == "Dragon, too"
    assert tokenizer.cut_tail("a " * 74 + "Photorealistic") == "realistic"
    long = "very " * 2000  # 10,000 characters
    assert len(tokenizer.pieces(long)) == 2000 and tokenizer.cut_tail(long) == "very " * 1925
    assert tokenizer(long)[0, 76] == END and (tokenizer(long)[0, 1:76] == 1070).all()


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=300))
def test_any_text_reads_as_in_transformers(tokenizer, clip, text):
    row = clip(text, padding="max_length", truncation=True, max_length=77)["input_ids"]
    assert tokenizer(text).tolist() == [row]


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=300))
def test_words_and_tail_account_for_every_piece(tokenizer, text):
    pieces = tokenizer.pieces(text)
    words = tokenizer.words(text)
    assert [i for _, ids in words for i in ids] == [piece.id for piece in pieces]
    assert all(word and word in text for word, _ in words)
    tail = tokenizer.cut_tail(text)
    assert text.endswith(tail) and bool(tail) == (len(pieces) > 75)


@settings(deadline=None)
@given(st.lists(st.sampled_from("photo of a red couch beside the small blue lamp".split())))
def test_plain_words_survive_the_round_trip(tokenizer, words):
    text = " ".join(words[:75])
    assert tokenizer.decode(tokenizer(text)[0]) == text
    assert [word for word, _ in tokenizer.words(text)] == text.split()


@pytest.mark.parametrize("wrong", [None, 3, 3.5, b"couch", ["couch", 3], {"couch"}])
def test_only_text_is_a_prompt(tokenizer, wrong):
    with pytest.raises(TypeError, match="A prompt is a string or a list of strings, not"):
        tokenizer(wrong)


def test_decode_refuses_what_is_no_row_of_ids(tokenizer):
    with pytest.raises(ValueError, match=r"try ids\[0\]"):
        tokenizer.decode(tokenizer(COUCH))
    with pytest.raises(ValueError, match=r"0\.\.49407"):
        tokenizer.decode([320, 49408])
    assert tokenizer.decode([]) == ""


def test_a_folder_without_a_tokenizer(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No vocab\.json with merges\.txt"):
        Tokenizer.load(tmp_path / "nowhere")


def test_a_damaged_file(folder):
    vocab = folder / "vocab.json"
    vocab.write_bytes(vocab.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot be read .* copy them again"):
        Tokenizer.load(folder)


def test_merges_that_end_too_soon(folder):
    merges = folder / "merges.txt"
    merges.write_text("\n".join(merges.read_text("utf-8").split("\n")[:40_000]), "utf-8")
    with pytest.raises(ValueError, match="its 'jekyll' is"):
        Tokenizer.load(folder)


def test_another_vocabulary(folder):
    vocab = json.loads((folder / "vocab.json").read_text("utf-8"))
    vocab["couch</w>"], vocab["dog</w>"] = vocab["dog</w>"], vocab["couch</w>"]
    (folder / "vocab.json").write_text(json.dumps(vocab))
    with pytest.raises(ValueError, match="its 'photo of a couch, photorealistic' is"):
        Tokenizer.load(folder)


def test_specials_that_are_not_in_the_vocabulary(folder):
    vocab = json.loads((folder / "vocab.json").read_text("utf-8"))
    vocab["<|start|>"] = vocab.pop("<|startoftext|>")
    (folder / "vocab.json").write_text(json.dumps(vocab))
    with pytest.raises(ValueError, match="its 'size' is 49409, not 49408"):
        Tokenizer.load(folder)


def test_what_fills_a_row_is_in_the_settings(folder):
    """SD 2.x says "!", which is id 0; a name of no token is refused, none at all is SD 1.x's."""
    (folder / "special_tokens_map.json").unlink()
    config = folder / "tokenizer_config.json"
    said = json.loads(config.read_text())
    for pad, filled in {"!": 0, "<|endoftext|>": END, None: END}.items():
        config.write_text(json.dumps(said | {"pad_token": pad}))
        assert Tokenizer.load(folder)("")[0, 2:].unique().tolist() == [filled]
    config.write_text(json.dumps(said | {"pad_token": "<pad>"}))
    with pytest.raises(ValueError, match="its 'size' is 49409, not 49408"):
        Tokenizer.load(folder)


def test_an_engine_without_a_vocabulary():
    empty = tokenizers.Tokenizer(tokenizers.models.BPE())
    with pytest.raises(ValueError, match="its 'size' is 0, not 49408"):
        Tokenizer(empty)


def test_the_files_diffusers_writes_work_too(clip, tmp_path):
    clip.save_pretrained(tmp_path)
    assert Tokenizer.load(tmp_path)(COUCH).tolist() == [COUCH_ROW]


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=100))
def test_words_and_places_are_those_of_transformers(tokenizer, clip, text):
    theirs = clip(text, add_special_tokens=False, return_offsets_mapping=True)
    assert tokenizer.spans(text) == theirs["offset_mapping"]
    ids, tokens = theirs["input_ids"], clip.convert_ids_to_tokens(theirs["input_ids"])
    assert tokenizer.pieces(text) == list(zip(tokens, ids))
    assert tokenizer._encode(text).words == theirs.word_ids()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 49407), max_size=80))
def test_any_ids_read_as_in_transformers(tokenizer, clip, ids):
    assert tokenizer.decode(ids) == clip.decode(ids, skip_special_tokens=True)


def test_the_vocabulary_is_what_its_script_makes_of_the_merges():
    path = FOLDER.parent.parent / "make_tokenizer.py"
    if not path.is_file():
        pytest.skip("not a checkout")
    spec = importlib.util.spec_from_file_location("make_tokenizer", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    merges = (FOLDER / "merges.txt").read_text("utf-8").split("\n")[1:-1]
    assert len(merges) == script.MERGES
    assert script.vocabulary(merges) == json.loads((FOLDER / "vocab.json").read_text("utf-8"))
    with pytest.raises(SystemExit, match="not CLIP's list of merges"):
        script.read_merges(b"something else")
