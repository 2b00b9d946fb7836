"""New words beside diffusers': the same ids, the same vectors, the same pictures; and bad files."""

import copy
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch.func import functional_call

import boringfusion_lite as bf
from boringfusion_lite import prompts, saving
from boringfusion_lite.textual_inversion import TABLE, extended_table
from boringfusion_lite.tokenizer import END, VOCABULARY

BOUND = 1e-4
CAT, NAME = "<cat-toy>", "charturnerv2"
IDS = {CAT: [49408, 49409, 49410], NAME: [49411]}
pytestmark = pytest.mark.filterwarnings("ignore")


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def words():
    return {CAT: drawn(3, 32), NAME: drawn(1, 32, seed=1)}


@pytest.fixture(scope="module")
def taught(tiny_sd, words):
    return bf.with_words(tiny_sd, words)


# ---- beside diffusers ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pipe(tiny_folder, words):
    """diffusers' pipeline with the same two words."""
    diffusers = pytest.importorskip("diffusers")
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(tiny_folder)
    pipe.set_progress_bar_config(disable=True)
    for word, vectors in words.items():
        pipe.load_textual_inversion({word: vectors})
    return pipe


def their_ids(pipe, text):
    """As their pipeline makes them."""
    text = pipe.maybe_convert_prompt(text, pipe.tokenizer)
    made = pipe.tokenizer(
        text, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    )
    return made.input_ids


TEXTS = [
    "a photo of <cat-toy>",
    "<cat-toy>",
    "two <cat-toy>s, a<cat-toy>b and <cat-toy><cat-toy>!",
    "charturnerv2, a red house, <cat-toy>",
    "  a   CharTurnerV2 's house ",
    "a house without any new word",
    "",
    "a red house " * 24 + "<cat-toy>",  # cut in the middle of the word
    "<cat-toy> " * 40,
]


@pytest.mark.reference
@pytest.mark.parametrize("text", TEXTS)
def test_the_ids_are_theirs(text, pipe, taught):
    assert torch.equal(taught.tokenize(text), their_ids(pipe, text))


@pytest.mark.reference
@given(st.text(st.sampled_from("ab 1,'<>é-!\n"), max_size=12), st.text("a <!", max_size=5))
@settings(max_examples=40, deadline=None)
def test_the_ids_are_theirs_around_the_word(pipe, taught, before, after):
    text = f"{before}{CAT}{after}"
    assert torch.equal(taught.tokenize(text), their_ids(pipe, text))


@pytest.mark.reference
@pytest.mark.parametrize("text", TEXTS[:4])
def test_the_pictures_are_theirs(text, pipe, taught, tiny_sd):
    arguments = {"num_inference_steps": 3, "latents": tiny_sd.noise(1), "output_type": "latent"}
    expected = pipe(text, negative_prompt=NAME, **arguments).images
    *_, last = taught.sample(text, negative_prompt=NAME, steps=3, seed=1)
    torch.testing.assert_close(last.x, expected, atol=BOUND, rtol=BOUND)
    *_, without = tiny_sd.sample(text, negative_prompt=NAME, steps=3, seed=1)
    assert (without.x - expected).abs().max() > 1e-2


# ---- files ---------------------------------------------------------------------------------------


def web_ui(vectors, **more):
    return {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, **more}


PARAMETERS = torch.nn.ParameterDict({"*": drawn(3, 32)})
FILES = {  # name -> what it holds, what is read
    "learned_embeds.safetensors": ({CAT: drawn(3, 32)}, CAT),
    "one.safetensors": ({CAT: drawn(32)}, CAT),
    "learned_embeds.bin": ({CAT: drawn(32)}, CAT),
    "several.bin": ({CAT: drawn(3, 32)}, CAT),
    "webui.pt": (web_ui(drawn(3, 32), name=NAME, step=900, sd_checkpoint=None), NAME),
    "parameter.pt": (web_ui(torch.nn.Parameter(drawn(3, 32)), name=NAME), NAME),
    "my-style.pt": (web_ui(drawn(3, 32)), "my-style"),
    "paper.pt": (web_ui(drawn(3, 32)) | {"string_to_param": PARAMETERS}, "paper"),
    "easy.safetensors": ({"emb_params": drawn(3, 32)}, "easy"),
    "bare.pt": (drawn(3, 32), "bare"),
    "half.safetensors": ({CAT: drawn(3, 32).half()}, CAT),
}


ONLY_OURS = ("bare.pt", "my-style.pt", "paper.pt")


@pytest.mark.parametrize("name", FILES)
def test_layouts(name, tmp_path):
    content, word = FILES[name]
    (save_file if name.endswith(".safetensors") else torch.save)(content, tmp_path / name)
    read = bf.load_words(tmp_path / name)
    assert [*read] == [word] and read[word].dtype == torch.float32
    rows = 1 if name in ("one.safetensors", "learned_embeds.bin") else 3
    expected = drawn(32)[None] if rows == 1 else drawn(3, 32)
    expected = expected.half().float() if name.startswith("half") else expected
    assert torch.equal(read[word], expected) and not read[word].requires_grad
    assert [*bf.load_words(tmp_path / name, word="<new>")] == ["<new>"]


@pytest.mark.reference
@pytest.mark.parametrize("name", [n for n in FILES if n not in ONLY_OURS])
def test_diffusers_reads_the_same(name, tiny_folder, tmp_path):
    content, _ = FILES[name]
    (save_file if name.endswith(".safetensors") else torch.save)(content, tmp_path / name)
    from diffusers.loaders import TextualInversionLoaderMixin
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(tiny_folder / "tokenizer")
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    encoder = CLIPTextModel(CLIPTextConfig(**small, intermediate_size=8, vocab_size=49_408))
    loader = TextualInversionLoaderMixin()
    loader.hf_device_map, loader.components = None, {}
    loader.load_textual_inversion(
        str(tmp_path), token="<it>", weight_name=name, tokenizer=tokenizer, text_encoder=encoder
    )
    (vectors,) = bf.load_words(tmp_path / name, word="<it>").values()
    table = encoder.get_input_embeddings().weight
    assert torch.equal(table[VOCABULARY:], vectors)


def test_what_was_saved_is_loaded(words, tmp_path):
    for word, vectors in words.items():
        file = tmp_path / "word.safetensors"
        bf.save_words({word: vectors}, file)
        read = bf.load_words(file)
        assert [*read] == [word] and torch.equal(read[word], vectors)
        assert [*tmp_path.iterdir()] == [file]
    with pytest.raises(ValueError, match="not 2"):
        bf.save_words(words, file)


class Exploit:
    def __reduce__(self):
        return (eval, ("open('ran', 'w')",))


def test_bad_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cases = {
        "sdxl.safetensors": ({"clip_l": drawn(2, 768), "clip_g": drawn(2, 1280)}, "for SDXL"),
        "model.safetensors": ({"a.weight": drawn(2, 3, 4, 4)}, "holds no textual inversion"),
        "starless.pt": ({"string_to_param": {}}, "holds no textual inversion"),
        "numbers.pt": ({"string_to_param": 3}, "holds no textual inversion"),
        "empty.pt": ({}, "holds no textual inversion"),
        "list.pt": ([drawn(3, 32)], "holds no textual inversion"),
        "exploit.pt": ({CAT: Exploit()}, "nothing of it ran"),
    }
    for name, (content, told) in cases.items():
        (save_file if name.endswith(".safetensors") else torch.save)(content, name)
        with pytest.raises(ValueError, match=told):
            bf.load_words(name)
    assert not (tmp_path / "ran").exists()
    save_file({CAT: drawn(32), NAME: drawn(32)}, "two.safetensors")
    assert [*bf.load_words("two.safetensors")] == sorted([CAT, NAME])
    with pytest.raises(ValueError, match="2 words"):
        bf.load_words("two.safetensors", word="<it>")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        bf.load_words("nowhere.pt")


# ---- words that cannot be ------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["house", "House", "*", "<|endoftext|>", CAT, "<CAT-TOY>", NAME])
def test_a_word_that_is_there_is_refused(word, taught):
    with pytest.raises(ValueError, match=re.escape(f"{word!r} is there already")):
        bf.with_words(taught, {word: drawn(1, 32)})


def test_what_cannot_be_a_word(tiny_sd):
    for word in ("", " ", " <cat>"):
        with pytest.raises(ValueError, match="is no word"):
            bf.with_words(tiny_sd, {word: drawn(1, 32)})
    with pytest.raises(ValueError, match="there already"):
        bf.with_words(tiny_sd, {"<a-b>": drawn(1, 32), "<A-B>": drawn(1, 32)})


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((2, 768), "learned for Stable Diffusion 1.x"),
        ((2, 1024), r"\[2, 1024\], and those of this model are 32 wide.* Stable Diffusion 2.x"),
        ((2, 40), "learned for another model"),
        ((0, 32), "another model"),
        ((32,), "another model"),
        ((), "another model"),
    ],
)
def test_vectors_of_another_width_are_refused(shape, told, tiny_sd):
    with pytest.raises(ValueError, match=told):
        bf.with_words(tiny_sd, {CAT: drawn(*shape)})


# ---- promises ------------------------------------------------------------------------------------


def test_the_model_stays_and_shares_all_but_the_table(taught, tiny_sd, words):
    table = tiny_sd.text_encoder.token_embedding.weight
    new = taught.text_encoder.token_embedding.weight
    assert len(table) == VOCABULARY == tiny_sd.text_encoder.config.vocabulary
    assert torch.equal(new, torch.cat([table, *words.values()]))
    assert taught.text_encoder.config.vocabulary == len(new) == VOCABULARY + 4
    others = dict(tiny_sd.text_encoder.named_parameters())
    for name, weight in taught.text_encoder.named_parameters():
        assert weight is others[name] or name == TABLE
    assert taught.unet is tiny_sd.unet and taught.vae is tiny_sd.vae
    for text in ("a red house", "", "photo of a couch, photorealistic"):
        assert torch.equal(taught.tokenize(text), tiny_sd.tokenize(text))
        assert torch.equal(taught.encode(text), tiny_sd.encode(text))
    assert CAT not in dict(tiny_sd.tokenizer.words(CAT)) and CAT in dict(
        taught.tokenizer.words(CAT)
    )


def test_a_model_with_words_is_not_saved_as_if_it_had_none(taught, tmp_path):
    with pytest.raises(ValueError, match=f"{CAT}, {NAME}|{NAME}, {CAT}"):
        bf.save(taught, tmp_path / "model")
    assert not [*tmp_path.iterdir()]


def test_no_words_change_nothing(tiny_sd):
    assert bf.with_words(tiny_sd, {}) is tiny_sd


def test_a_save_that_fails_leaves_the_old_file(words, tmp_path, monkeypatch):
    def full_disk(tensors, file, notes):
        file.write_text("half of it")
        raise OSError("No space left on device")

    one = {NAME: words[NAME]}
    bf.save_words(one, tmp_path / "word.safetensors")
    before = (tmp_path / "word.safetensors").read_bytes()
    monkeypatch.setattr(saving, "save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        bf.save_words(one, tmp_path / "word.safetensors")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [before]


def test_one_after_the_other_is_as_both_at_once(taught, tiny_sd, words):
    first, second = ({word: vectors} for word, vectors in words.items())
    after = bf.with_words(bf.with_words(tiny_sd, first), second)
    assert torch.equal(after.tokenize(f"{NAME} {CAT}"), taught.tokenize(f"{NAME} {CAT}"))
    assert torch.equal(after.encode(f"{NAME} {CAT}"), taught.encode(f"{NAME} {CAT}"))


def test_what_the_tokenizer_tells(taught):
    tokenizer, text = taught.tokenizer, f"a {CAT}, {NAME.upper()}"
    a, comma = 320, 267
    assert tokenizer.words(text) == [
        ("a", [a]), (CAT, IDS[CAT]), (",", [comma]), (NAME.upper(), IDS[NAME])
    ]  # fmt: skip
    names = [piece.text for piece in tokenizer.pieces(text)]
    assert names == ["a</w>", CAT, f"{CAT}_1", f"{CAT}_2", ",</w>", NAME]
    assert tokenizer.spans(text) == [(0, 1), *[(2, 11)] * 3, (11, 12), (13, 25)]
    assert tokenizer.decode(tokenizer(text)[0]) == f"a {CAT} , {NAME}"
    assert tokenizer.decode([49409, a, 49411]) == f"a {NAME}"  # the word has lost its head
    with pytest.raises(ValueError, match="49412"):
        tokenizer.decode([49412])
    with pytest.raises(ValueError, match="one row"):
        tokenizer.decode(tokenizer([text]))
    with pytest.raises(TypeError, match="A prompt is a string"):
        tokenizer(3)
    with pytest.raises(TypeError, match="A prompt is a string"):
        tokenizer([CAT, None])


def test_a_name_is_not_found_within_a_word(taught):
    new = {i for ids in IDS.values() for i in ids}
    for text in (f"my{NAME}", f"{NAME}b", f"{NAME}_"):
        assert not new & set(taught.tokenize(text)[0].tolist())
    for text in (f"-{NAME}-", f"{NAME}'s", f"x{CAT}x", f"{CAT}{NAME}"):
        assert new & set(taught.tokenize(text)[0].tolist())


def test_the_longer_word_wins(tiny_sd):
    sd = bf.with_words(tiny_sd, {"blue toy": drawn(1, 32), "blue toy car": drawn(1, 32)})
    assert sd.tokenize("blue toy car, blue toy")[0, 1:5].tolist() == [49409, 267, 49408, 49407]


def test_the_row_is_cut_at_77_and_told(taught):
    text = "a red house " * 24 + f"a {CAT} and more"
    ids = taught.tokenize(text)
    assert ids.shape == (1, 77) and ids[0, 74:].tolist() == [IDS[CAT][0], IDS[CAT][1], END]
    assert taught.tokenizer.cut_tail(text) == f"{CAT} and more"


def test_new_words_are_known_and_can_be_emphasised(taught, tiny_sd):
    assert taught.unknown_words(f"a {NAME} dragon") == ["dragon"]
    assert tiny_sd.unknown_words(f"a {NAME} house") != []
    marked = prompts.parse(f"a ({CAT}:1.3) house")
    weights = prompts.token_weights(taught.tokenizer, marked)
    assert weights[:6].tolist() == pytest.approx([1, 1, 1.3, 1.3, 1.3, 1])
    assert prompts.slots_of(taught.tokenizer, f"a {CAT} house", CAT) == [2, 3, 4]
    stressed = prompts.emphasise(taught, f"a ({CAT}:1.3) house")
    plain = taught.encode(f"a {CAT} house")
    torch.testing.assert_close(stressed[:, 2:5], 1.3 * plain[:, 2:5])
    assert torch.equal(stressed[:, 5:], plain[:, 5:])


def test_a_word_and_a_lora_go_together(taught, tiny_sd, tmp_path):
    from boringfusion_lite.lora import new_lora

    lora = new_lora(tiny_sd, where="text_encoder.*")
    for low_rank in lora.values():
        low_rank.up.normal_(generator=torch.Generator().manual_seed(2))
    both = bf.with_loras(taught, (lora, 1))
    other = bf.with_words(
        bf.with_loras(tiny_sd, (lora, 1)), {CAT: drawn(3, 32), NAME: drawn(1, 32, seed=1)}
    )
    assert torch.equal(both.encode(CAT), other.encode(CAT))
    assert not torch.equal(both.encode(CAT), taught.encode(CAT))


def test_a_word_can_be_learned(taught, tiny_sd, words):
    """Towards the vectors that make the text encoder answer as it does for the true word."""
    ids, target = taught.tokenize(f"a {CAT} house"), taught.encode(f"a {CAT} house")
    learned = {CAT: torch.zeros(3, 32, requires_grad=True)}
    encoder = copy.deepcopy(taught.text_encoder).requires_grad_(False)
    optimizer, losses = torch.optim.Adam(learned.values(), lr=0.1), []
    for _ in range(30):
        weights = {TABLE: extended_table(tiny_sd, learned)}
        losses.append((functional_call(encoder, weights, ids) - target).square().mean())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
