"""The notes of a run, and the figures that page 07 draws from them."""

from io import BytesIO

import pytest
from PIL import Image

from boringfusion_lite import plots
from boringfusion_lite.timeline import timeline


@pytest.fixture(scope="module")
def run(tiny_sd):
    with timeline(tiny_sd) as calls:
        frames = list(tiny_sd.sample("a red house", steps=3))
        picture = tiny_sd.decode(frames[-1].x)[0]
    return calls, frames, picture


def size(data):
    return Image.open(BytesIO(data)).size


def test_who_plays_when(run):
    calls, _, _ = run
    parts = [call.part for call in calls if call.shape]
    assert parts == ["text encoder"] * 2 + ["UNet"] * 3 + ["VAE decoder"]
    gaps = [call.part for call in calls if not call.shape]
    assert gaps == ["tokenizer"] * 2 + ["sampler"] * 4
    times = [time for call in calls for time in (call.start, call.end)]
    assert times == sorted(times) and times[0] == 0
    assert calls[5].shape == (2, 4, 8, 8) and calls[-1].shape == (1, 3, 64, 64)


def test_the_hooks_are_taken_off_again(tiny_sd):
    networks = tiny_sd.text_encoder, tiny_sd.unet, tiny_sd.vae.decoder
    with pytest.raises(KeyboardInterrupt), timeline(tiny_sd):
        raise KeyboardInterrupt
    assert not any(net._forward_hooks or net._forward_pre_hooks for net in networks)


def test_the_score(run):
    calls, _, picture = run
    figure = plots.score(calls, {"step 1": picture, "step 3": picture})
    assert "the UNet 3 times" in figure.get_label() and figure.get_size_inches()[0] == 9
    names = plots.score(calls, ["text", "latents"])
    assert figure.get_size_inches().tolist() == names.get_size_inches().tolist()


def test_pausing_moves_a_line_and_fills_the_places(run, tiny_sd):
    calls, frames, picture = run
    drawn = plots.encoded(plots.score(calls, ["text", "latents", "picture"]))
    panels = [tiny_sd.encode("a red house")[0], frames[0].x[0], picture]
    stops = [plots.paused(drawn, moment, panels) for moment in (0, 0.5, 1)]
    assert {size(stop) for stop in stops} == {size(drawn)} and len(set(stops)) == 3


def test_pictures_side_by_side():
    pictures = {"one": Image.new("RGB", (64, 64), "red"), "two": Image.new("RGB", (40, 40))}
    drawn = plots.side_by_side(pictures, side=128)
    assert size(drawn) == (128 * 2 + 16, 148)
    assert Image.open(BytesIO(drawn)).getpixel((64, 80))[0] > 240


def test_the_matrix_tells_what_is_new():
    rows = {"the seed": {"text": False, "noise": True}, "a word": {"text": True, "noise": False}}
    figure = plots.change_matrix(rows, "A claim")
    assert figure.get_label() == "A claim. New are, for the seed: noise; for a word: text."


def test_every_tensor_of_a_run(run, tiny_sd):
    _, frames, picture = run
    context, noise = tiny_sd.encode("a red house")[0], tiny_sd.noise(0)[0]
    pieces, levels = tiny_sd.tokenizer.pieces("a red house"), tiny_sd.schedule.alphas_cumprod
    figure = plots.every_tensor(pieces, context, levels, noise, frames, picture)
    assert "step 2" in figure.get_label()
    many = tiny_sd.tokenizer.pieces("a red house " * 30)
    plots.every_tensor(many, context, levels, noise, frames, picture)
