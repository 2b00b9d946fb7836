"""The figures: the right number of panels, one fixed scale, small images, alt text."""

import base64
import re
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from boringfusion_lite import plots
from boringfusion_lite.tokenizer import LENGTH, Tokenizer

COUCH = "photo of a couch, photorealistic"


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.load()


@pytest.fixture(scope="module")
def pieces(tokenizer):
    return tokenizer.pieces(COUCH)


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def picture(seed=0, size=128):
    """A smooth picture with some grain, as the model's are."""
    rng = np.random.default_rng(seed)
    rough = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
    return rough.resize((size, size), Image.Resampling.BICUBIC)


def panels(figure):
    """The axes of a figure besides the page itself."""
    return figure.axes[1:]


def maps(figure):
    """The heat maps of a figure: those with one number a cell."""
    images = [image for axes in panels(figure) for image in axes.images]
    return [image for image in images if image.get_array().ndim == 2]


MS = {"text encoder": 4.0, "UNet": 800.0, "VAE decoder": 40.0, "everything else": 9.0}


def every_figure(pieces):
    guesses = {step: picture(step) for step in (1, 5, 10, 15, 20)}
    pictures = [picture(seed) for seed in range(12)]
    labels = [str(number) for number in range(12)]
    return {
        "map": (plots.pipeline_map("UNet"), 0),
        "ribbon": (
            plots.ribbon(pieces, noise(77, 128), noise(4, 16, 16), guesses, picture(), MS),
            1 + 4 + 5 + 1,
        ),
        "chips": (plots.token_chips(pieces), 0),
        "embedding": (plots.embedding_map(noise(77, 128), pieces), 1 + 1),
        "latents": (plots.latent_tiles(noise(4, 16, 16), "Four maps"), 4 + 1),
        "rows": (plots.picture_rows({"above": pictures, "below": pictures}, labels, "Two"), 24),
        "one": (plots.picture_rows({"alone": [picture()]}, ["seed 0"], "A single picture"), 1),
        "bars": (plots.time_bars({"20 steps": MS, "40 steps": MS}, "Time"), 0),
    }


NAMES = ["map", "ribbon", "chips", "embedding", "latents", "rows", "one", "bars"]


@pytest.fixture(scope="module")
def figures(pieces):
    plots.use_style()
    return every_figure(pieces)


@pytest.mark.parametrize("name", NAMES)
def test_every_figure(figures, name):
    figure, expected = figures[name]
    assert len(panels(figure)) == expected
    assert figure.get_figwidth() == 9.0
    for image in maps(figure):
        assert image.get_clim() == (-3, 3) or image.axes is figure.axes[-1]  # the colour bar
    data = plots.encoded(figure)
    assert len(data) <= 100_000
    assert Image.open(BytesIO(data)).width == 900


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_has_alt_text(figures, name):
    found = re.match(
        r'<img alt="([^"]+)" src="data:image/(png|jpeg);', plots.show(figures[name][0]).data
    )
    assert found and 20 < len(found[1]) < 400


def test_scales_are_fixed_whatever_the_values():
    figure = plots.latent_tiles(100 * noise(4, 8, 8), "Large")
    assert {image.get_clim() for image in maps(figure)[:4]} == {(-3, 3)}
    assert "standard deviation 9" in figure.get_label()
    colours = plots.signed_rgb(torch.tensor([[-3.0, 0.0, 3.0, 100.0]]))
    assert colours.dtype == np.uint8 and colours.shape == (1, 4, 3)
    assert (colours[0, 2] == colours[0, 3]).all() and colours[0, 1].min() > 240  # 0 is white
    assert colours[0, 0, 0] > colours[0, 0, 2] and colours[0, 2, 2] > colours[0, 2, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_tensors_of_every_kind_and_size(pieces, dtype):
    latents = noise(4, 64, 64).to(dtype).requires_grad_()
    assert len(panels(plots.latent_tiles(latents, "Big"))) == 5
    assert len(panels(plots.embedding_map(noise(77, 768).to(dtype), pieces))) == 2


@pytest.mark.parametrize(
    ("prompt", "cut"),
    [("", 0), (COUCH, 0), ("a red house " * 40, 45), ("$x$ 100% \\frac 🙂 ﷽", 0)],
)
def test_any_prompt_can_be_shown(tokenizer, prompt, cut):
    pieces = tokenizer.pieces(prompt)
    figure = plots.token_chips(pieces)
    assert f"{cut} tokens cut off" in figure.get_label()
    texts = [text.get_text() for text in figure.axes[0].texts]
    pads = LENGTH - 2 - min(len(pieces), 75)
    assert (f"+ {pads} x end" in texts) == (pads > 0)
    struck = [line for line in figure.axes[0].lines if line.get_color() == plots.canvas.NOISE]
    assert len(struck) == cut
    with_vectors = plots.embedding_map(noise(77, 16), pieces)
    for made in (figure, with_vectors):
        assert Image.open(BytesIO(plots.encoded(made))).width == 900


def test_pages_name_the_lit_stage():
    figure = plots.pipeline_map("UNet", "sampler")
    bold = [text.get_text() for text in figure.axes[0].texts if text.get_weight() == "bold"]
    assert bold == ["From a prompt to a picture", "UNet", "sampler"]
    assert figure.get_label().endswith("In colour: UNet, sampler.")


def test_show_escapes_and_keeps_bytes():
    buffer = BytesIO()
    picture().save(buffer, format="png")
    shown = plots.show(buffer.getvalue(), 'a "red" <house>').data
    assert 'alt="a &quot;red&quot; &lt;house&gt;"' in shown
    assert base64.b64decode(re.search(r"base64,([^\"]+)", shown)[1]) == buffer.getvalue()


def test_long_rows_go_on_below():
    labels = [f"{number}" for number in range(25)]
    pictures = [picture(number, size=16) for number in range(25)]
    figure = plots.picture_rows({"above": pictures, "below": pictures}, labels, "Long")
    assert len(panels(figure)) == 50
    assert [text.get_text() for text in figure.axes[0].texts].count("above") == 3
    for axes in panels(figure):
        box = axes.get_position()
        assert 0 <= box.x0 <= box.x1 <= 1 and 0 <= box.y0 <= box.y1 <= 1
