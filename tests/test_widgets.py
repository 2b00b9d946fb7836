"""The prompt studio inside the kernel: what runs the model, what does not, and what errors do."""

import asyncio
import time
from io import BytesIO

import pytest
import torch
from PIL import Image

pytest.importorskip("ipywidgets")

from boringfusion_lite import probe, widgets  # noqa: E402
from boringfusion_lite.clip import TextConfig, TextEncoder  # noqa: E402
from boringfusion_lite.pipeline import StableDiffusion  # noqa: E402
from boringfusion_lite.schedule import Schedule  # noqa: E402
from boringfusion_lite.tokenizer import END, START, Tokenizer  # noqa: E402
from boringfusion_lite.unet import UNet, UNetConfig  # noqa: E402
from boringfusion_lite.vae import VAE, VAEConfig  # noqa: E402

COUCH = "photo of a couch, photorealistic"


@pytest.fixture(scope="module")
def sd():
    """A very small model with random weights that knows the words of the couch."""
    torch.manual_seed(0)
    tokenizer = Tokenizer.load()
    text = TextEncoder(TextConfig(width=32, layers=1, heads=2))
    known = torch.zeros(text.config.vocabulary, 1)
    known[[START, END, *(piece.id for piece in tokenizer.pieces(COUCH))]] = 1
    text.token_embedding.weight.data *= known
    levels = {"channels": (16, 32), "attention": (True, False), "heads": (2, 2), "groups": 8}
    unet = UNet(UNetConfig(sample_size=8, context_width=32, blocks_per_level=1, **levels))
    vae = VAE(VAEConfig(channels=(8, 8, 8, 8), blocks_per_level=1, groups=4))
    return StableDiffusion(tokenizer, text.eval(), unet.eval(), vae.eval(), Schedule())


@pytest.fixture
def studio(sd):
    return widgets.prompt_studio(sd, COUCH, seed=0, steps=5, guidance=3.0)


def test_it_starts_in_the_middle_of_the_story(studio):
    assert studio.draws == 1
    assert (studio.step.min, studio.step.value, studio.step.max) == (1, 3, 5)
    assert bytes(studio.image.value).startswith(b"\x89PNG")
    assert studio.sentence.value.startswith("Step 3 of 5, t = ")
    assert studio.notes.value == ""


@pytest.mark.parametrize(
    ("control", "value"),
    [("prompt", "photo of a couch"), ("seed", 1), ("steps", 4), ("guidance", 5.0)],
)
def test_every_control_changes_the_picture(studio, control, value):
    before = studio.image.value
    getattr(studio, control).value = value
    assert studio.image.value != before and studio.draws == 2


def test_the_plain_call_gives_the_same(sd, studio):
    studio.seed.value = 4
    drawing = widgets.draw(sd, COUCH, seed=4, steps=5, guidance=3.0)
    assert studio.image.value == drawing.frames[studio.step.value - 1]
    assert studio.sentence.value == drawing.sentences[studio.step.value - 1]
    plain = sd(COUCH, seed=4, steps=5, guidance_scale=3.0)
    assert drawing.picture.tobytes() == plain.tobytes()


def decodes(watch) -> int:
    return watch.calls["VAE decoder"]


def test_only_what_is_on_show_is_decoded(sd):
    with probe.stopwatch(sd) as watch:
        drawing = widgets.draw(sd, COUCH, steps=5, guidance=3.0)
        assert decodes(watch) == 1  # the picture
        assert drawing.frames[2] is drawing.frames[2] and decodes(watch) == 2
        assert drawing.frames[-1] is drawing.frames[4]
        assert drawing.frames.missing() == [0, 1, 3]
        assert len(set(drawing.frames)) == 5 and decodes(watch) == 1 + 5
        assert watch.calls["UNet"] == 5
    with probe.stopwatch(sd) as watch:
        widgets.prompt_studio(sd, COUCH, steps=5, guidance=3.0)
        assert decodes(watch) == 2


def idle(studio) -> None:
    """Let the event loop of a kernel with nothing to do run until the film is developed."""

    async def wait():
        studio._when_idle()
        for _ in range(1000):
            await asyncio.sleep(0.002)
            if not studio._shown.frames.missing():
                return
        raise AssertionError("the film was not developed")

    asyncio.run(wait())


def test_the_other_steps_are_decoded_while_the_kernel_is_idle(sd, studio):
    order, make = [], studio._shown.frames._make
    studio._shown.frames._make = lambda number: order.append(number) or make(number)
    idle(studio)
    assert order == [1, 3, 0, 4]  # outwards from the step on show, the third


def test_a_film_that_is_no_longer_on_show_is_left_alone(sd, studio):
    first = studio._shown.frames

    async def move():
        studio._when_idle()
        studio.seed.value = 1
        for _ in range(1000):
            await asyncio.sleep(0.002)
            if not studio._shown.frames.missing():
                return

    asyncio.run(move())
    assert len(first.missing()) == 4 and not studio._shown.frames.missing()


def test_a_step_that_cannot_be_decoded_is_told_in_place(sd, studio, monkeypatch):
    before = studio.image.value

    def broken(latents):
        raise FloatingPointError("NaN")

    with monkeypatch.context() as patch:
        patch.setattr(sd, "decode", broken)
        asyncio.run(asyncio.wait_for(quiet(studio), 5))  # in the background: not a word
        assert "Not drawn" not in studio.status.value
        studio.step.value = 5
        assert "NaN" in studio.status.value and studio.image.value == before
    studio.step.value = 4
    assert studio.sentence.value.startswith("Step 4 of 5") and studio.image.value != before


async def quiet(studio) -> None:
    studio._when_idle()
    await asyncio.sleep(0.1)


def test_looking_through_the_steps_runs_no_model_and_is_quick(sd, studio):
    idle(studio)
    seen, spent = set(), []
    with probe.stopwatch(sd) as watch:
        for step in range(1, 6):
            began = time.perf_counter()
            studio.step.value = step
            spent.append(time.perf_counter() - began)
            seen.add(studio.image.value)
            assert studio.sentence.value.startswith(f"Step {step} of 5")
        studio.back.click()
        assert studio.step.value == 4
        studio.forward.click()
        studio.forward.click()  # the end stays the end
        assert studio.step.value == 5
    assert set(watch.calls.values()) == {0} and studio.draws == 1
    assert len(seen) == 5
    assert sorted(spent)[2] < 0.02


def test_what_was_drawn_is_not_drawn_again(sd, studio):
    for number in range(50):
        studio.seed.value = number % 5
    assert studio.draws == 5
    studio.steps.value = 4
    for seed in range(widgets.studio.KEPT + 4):
        studio.seed.value = seed
    assert len(studio._drawings) == widgets.studio.KEPT


def test_an_error_is_told_in_place_and_the_next_move_recovers(sd, studio, monkeypatch):
    before = studio.image.value

    def broken(*args, **options):
        raise FloatingPointError("Step 2: NaN <b>\nor infinity")

    with monkeypatch.context() as patch:
        patch.setattr(type(sd), "sample", broken)
        studio.seed.value = 9
        assert "Not drawn" in studio.status.value and "\n" not in studio.status.value
        assert "Step 2: NaN &lt;b&gt; or infinity" in studio.status.value
        assert studio.image.value == before and studio.draws == 1
        studio.step.value = 1  # the old picture can still be looked at
        assert studio.sentence.value.startswith("Step 1 of 5")
    studio.seed.value = 10
    assert "Not drawn" not in studio.status.value
    assert studio.image.value != before and studio.draws == 2


def test_interrupting_is_not_swallowed(sd, studio, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(sd), "sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        studio.seed.value = 9


def test_words_that_do_nothing_and_the_cut_tail_are_named(studio):
    studio.prompt.value = "photo of a dragon & a dragon"
    assert "does not know: <b>dragon</b>" in studio.notes.value
    studio.prompt.value = "photo of a couch, " * 20 + "<end>"
    assert "Cut off: <s>" in studio.notes.value and "<end>" not in studio.notes.value
    for prompt in ("", "🙂\x00", "a" * 10_000):
        studio.prompt.value = prompt
        assert "Not drawn" not in studio.status.value
    studio.prompt.value = COUCH
    assert studio.notes.value == ""


def test_starting_again_is_one_move(studio):
    start = studio.image.value
    studio.prompt.value, studio.seed.value, studio.steps.value = "photo", 7, 9
    studio.guidance.value, studio.step.value = 1.0, 9
    draws = studio.draws
    studio.reset.click()
    assert studio.settings == (COUCH, 0, 5, 3.0)
    assert studio.draws == draws and studio.image.value == start


def walk(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk(child)


def test_the_model_waits_until_a_control_is_let_go(studio):
    flags = {
        w.description: w.continuous_update for w in walk(studio) if hasattr(w, "continuous_update")
    }
    assert flags.pop("Look at step") is True  # runs no model
    assert flags == dict.fromkeys(["Prompt", "Seed", "Steps", "Guidance"], False)


def test_every_control_has_a_label_and_every_display_a_height(studio):
    controls = [studio.prompt, studio.seed, studio.steps, studio.guidance, studio.step]
    controls += [studio.back, studio.forward, studio.reset]
    assert all(control.description for control in controls)
    assert set(controls) < set(walk(studio))
    for display in (studio.notes, studio.status, studio.sentence, studio.image):
        assert display.layout.height.endswith("px")


def test_without_a_kernel_it_says_what_it_is(studio):
    shown = studio._repr_mimebundle_()["text/plain"]
    assert shown == "The prompt studio. It comes alive when this page is run."


@pytest.mark.parametrize("size", [64, 128, 512])
def test_panels_fit_pictures_of_every_size(size):
    picture = Image.new("RGB", (size, size), "red")
    data = widgets.film.panels(torch.randn(4, size // 8, size // 8), picture, picture)
    side = widgets.film.panel_side(picture)
    sheet = Image.open(BytesIO(data))
    assert sheet.size == (3 * side + 2 * widgets.film.GAP, side)
    assert sheet.getpixel((sheet.width - 1, 0)) == (255, 0, 0)
