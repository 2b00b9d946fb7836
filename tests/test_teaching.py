"""What a lesson learns, what it must leave alone, and that others read its files."""

import copy
import importlib.util

import pytest
import torch

import boringfusion_lite as bf
from boringfusion_lite import scenes
from boringfusion_lite.lora import new_lora, parameters
from boringfusion_lite.teaching import Lesson, learn, new_word, vectors
from boringfusion_lite.weight_files import metadata

STEPS, WORD = 10, "<heart>"
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def drawn():
    """Two pictures of the new, four of the old, and their captions."""
    old = [scenes.random_scene(seed, scenes.STARTER) for seed in range(6)]
    said = [f"photo of a red {WORD}", f"a blue {WORD} at night", *(s.caption for s in old[2:])]
    return [scene.draw(64) for scene in old], said


def word_lesson(sd, drawn):
    pictures, captions = drawn
    return Lesson.of(sd, pictures[:2], captions[:2], batch=2)


def lora_lesson(sd, drawn):
    pictures, captions = drawn
    taught = bf.with_words(sd, new_word(sd, WORD, "star"))
    return Lesson.of(taught, pictures, captions, rehearsal=4, batch=2)


def learned_word(sd, drawn, steps=STEPS):
    words, lesson = new_word(sd, WORD, "star"), word_lesson(sd, drawn)
    losses = list(
        learn(vectors(words), lambda _: lesson.loss(0, words=words), steps, 1.0)
    )  # the same noise each time, so that the losses can be compared
    return {word: rows.detach() for word, rows in words.items()}, losses


def learned_lora(sd, drawn, steps=STEPS):
    lora, lesson = new_lora(sd, rank=2), lora_lesson(sd, drawn)
    losses = list(learn(parameters(lora), lambda _: lesson.loss(0, lora=lora), steps, 0.02))
    return {place: one._replace(down=one.down.detach(), up=one.up.detach())
            for place, one in lora.items()}, losses  # fmt: skip


def state(sd):
    networks = sd.text_encoder, sd.unet, sd.vae
    return [p for network in networks for p in network.parameters()]


@pytest.mark.parametrize(("learned", "share"), [(learned_word, 0.998), (learned_lora, 0.99)])
def test_ten_steps_lower_the_loss_and_change_nothing_else(learned, share, sd, drawn):
    before = copy.deepcopy([p.detach() for p in state(sd)])
    flags = [p.requires_grad for p in state(sd)]
    _, losses = learned(sd, drawn)
    assert losses[-1] < share * losses[0]
    assert all(torch.equal(p, old) for p, old in zip(state(sd), before))
    assert [p.requires_grad for p in state(sd)] == flags
    assert all(p.grad is None for p in state(sd))


@pytest.mark.parametrize("learned", [learned_word, learned_lora])
def test_the_same_seed_learns_the_same(learned, tiny_sd, drawn):
    (one, losses), (other, again) = learned(tiny_sd, drawn, 3), learned(tiny_sd, drawn, 3)
    assert losses == again and one.keys() == other.keys()
    for first, second in zip(one.values(), other.values()):
        pairs = zip(first, second) if isinstance(first, tuple) else [(first, second)]
        assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in pairs)


def test_steps_and_seeds_draw_their_own_noise(tiny_sd, drawn):
    lesson = word_lesson(tiny_sd, drawn)
    words = new_word(tiny_sd, WORD, "star")
    with torch.no_grad():
        first, second = lesson.loss(0, words=words), lesson.loss(1, words=words)
        lesson.seed = 1
        assert len({first.item(), second.item(), lesson.loss(0, words=words).item()}) == 3


def test_a_step_takes_as_many_old_pictures_as_new_ones(tiny_sd, drawn):
    lesson = lora_lesson(tiny_sd, drawn)
    rows = [lesson.chosen(torch.Generator().manual_seed(seed)).tolist() for seed in range(40)]
    assert all(sorted(row[:2]) == [0, 1] and len({*row[2:]}) == 2 for row in rows)
    assert {i for row in rows for i in row[2:]} == {2, 3, 4, 5}


def test_a_lora_that_changes_nothing_has_the_loss_of_the_model(tiny_sd, drawn):
    lesson = lora_lesson(tiny_sd, drawn)
    with torch.no_grad():
        assert lesson.loss(3, lora=new_lora(tiny_sd)) == lesson.loss(3)


def test_the_loss_is_that_of_the_model_with_the_word(tiny_sd, drawn):
    """What functional_call makes of a word in training is what `with_words` makes of it after."""
    words, _ = learned_word(tiny_sd, drawn, 2)
    taught = bf.with_words(tiny_sd, words)
    alone, after = word_lesson(tiny_sd, drawn), word_lesson(taught, drawn)
    with torch.no_grad():
        torch.testing.assert_close(alone.loss(5, words=words), after.loss(5))


def test_a_word_begins_as_another_one(tiny_sd):
    words = new_word(tiny_sd, WORD, "star")
    row = tiny_sd.text_encoder.token_embedding.weight[tiny_sd.tokenizer("star")[0, 1]]
    assert words[WORD].shape == (1, 32) and torch.equal(words[WORD][0], row)
    with torch.no_grad():
        words[WORD] += 1  # a copy: the model's own row stays
    assert not torch.equal(words[WORD][0], row)
    for like in ("photorealistic couch", "zebra"):
        with pytest.raises(ValueError, match="no word that this model knows"):
            new_word(tiny_sd, WORD, like)


def test_one_caption_a_picture(tiny_sd, drawn):
    with pytest.raises(ValueError, match="6 pictures, 2 captions"):
        Lesson.of(tiny_sd, drawn[0], drawn[1][:2])


def test_a_loss_that_is_no_number_ends_the_lesson():
    rows = torch.ones(2, requires_grad=True)
    with pytest.raises(FloatingPointError, match="at step 0: lower the rate"):
        list(learn([rows], lambda _: (rows * float("nan")).sum(), 3, 0.1))
    assert torch.equal(rows, torch.ones(2))


def test_gradient_steps_are_those_of_adamw_with_a_cosine():
    ours, theirs = torch.ones(3, requires_grad=True), torch.nn.Parameter(torch.ones(3))
    list(learn([ours], lambda step: (ours - step).square().sum(), 5, 0.1))
    optimizer = torch.optim.AdamW([theirs], lr=0.1, weight_decay=0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)
    for step in range(5):
        optimizer.zero_grad()
        (theirs - step).square().sum().backward()
        optimizer.step()
        schedule.step()
    torch.testing.assert_close(ours, theirs.data)


# ---- files ---------------------------------------------------------------------------------------


def latents(sd):
    *_, last = sd.sample(f"a red {WORD}", steps=3, seed=1)
    return last.x


def test_files_are_read_back_with_their_notes(tiny_sd, drawn, tmp_path):
    words, _ = learned_word(tiny_sd, drawn, 2)
    lora, _ = learned_lora(tiny_sd, drawn, 2)
    notes = {"command": "python teach.py", "seed": "0"}
    bf.save_words(words, tmp_path / "word.safetensors", notes)
    bf.save_lora(lora, tmp_path / "lora.safetensors", tiny_sd, notes=notes)
    for name in ("word", "lora"):
        assert notes.items() <= metadata(tmp_path / f"{name}.safetensors").items()
    again = bf.load_words(tmp_path / "word.safetensors")
    assert again.keys() == words.keys() and torch.equal(again[WORD], words[WORD])
    loaded = bf.load_lora(tmp_path / "lora.safetensors", tiny_sd)
    taught = bf.with_words(tiny_sd, words)
    assert torch.equal(
        latents(bf.with_loras(taught, (lora, 0.7))), latents(bf.with_loras(taught, (loaded, 0.7)))
    )


@pytest.mark.reference
@pytest.mark.skipif(not importlib.util.find_spec("peft"), reason="peft not installed")
def test_diffusers_and_peft_draw_the_same_with_these_files(tiny_sd, tiny_folder, drawn, tmp_path):
    diffusers = pytest.importorskip("diffusers")
    words, _ = learned_word(tiny_sd, drawn)
    lora, _ = learned_lora(tiny_sd, drawn)
    bf.save_words(words, tmp_path / "word.safetensors", {"seed": "0"})
    bf.save_lora(lora, tmp_path / "lora.safetensors", tiny_sd, notes={"seed": "0"})
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(tiny_folder)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_textual_inversion(tmp_path, weight_name="word.safetensors", token=WORD)
    pipe.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    options = {"num_inference_steps": 3, "latents": tiny_sd.noise(1), "output_type": "latent"}
    theirs = pipe(f"a red {WORD}", **options).images
    ours = latents(bf.with_loras(bf.with_words(tiny_sd, words), (lora, 1)))
    assert (ours - latents(bf.with_words(tiny_sd, new_word(tiny_sd, WORD, "star")))).abs().max() > 0
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
