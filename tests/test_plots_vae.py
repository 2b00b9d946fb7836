"""The figures of page 06: panels, their scales, boxes where the cells are, alt text."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from PIL import Image

from boringfusion_lite import plots
from boringfusion_lite.plots.canvas import LIMIT, PIXEL


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def picture(size):
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 255, (size, size, 3), dtype=np.uint8))


def maps(figure):
    """The heat maps of a figure, one number a cell, without colour bars."""
    images = [image for axes in figure.axes for image in axes.images]
    return [image for image in images if image.get_array().ndim == 2]


def words(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize("cells, side", [(16, 8), (64, 8), (8, 8)])
def test_fewer_shows_one_cell_and_its_numbers(cells, side):
    latents, size = drawn(4, cells, cells), cells * side
    error = drawn(size, size).abs()
    figure = plots.fewer(picture(size), latents, picture(size), error, (3, 5))
    assert [image.get_array().shape for image in maps(figure)][:4] == [(cells, cells)] * 4
    for image in maps(figure)[:4]:
        assert image.get_clim() == (-LIMIT, LIMIT)
    assert {f"{value:+.2f}" for value in latents[:, 3, 5].tolist()} <= set(words(figure))
    assert "48 times fewer" in words(figure)[0] and "8 x 8 x 3 = 192 numbers" in words(figure)
    assert f"{error.mean():.3f}" in figure.get_label()


def test_cloud_has_means_on_the_fixed_scale_and_one_scale_for_all_spreads():
    mean, spread = drawn(4, 16, 16), drawn(4, 16, 16).abs()
    figure = plots.cloud(mean, spread, "A cloud")
    limits = [image.get_clim() for image in maps(figure)]
    assert limits[::2] == [(-LIMIT, LIMIT)] * 4
    assert limits[1::2] == [(0, pytest.approx(spread.max().item()))] * 4


def test_the_walk_names_every_map_with_its_shape_and_maximum():
    steps = {"latents": drawn(1, 4, 8, 8), "level 1": drawn(1, 6, 16, 16)}
    steps["image"] = drawn(1, 3, 64, 64)
    figure = plots.decoder_walk(steps, picture(64), "A walk")
    energy = steps["level 1"][0].square().mean(dim=0).sqrt()
    assert {"latents", "level 1", "image", "4x8x8", "6x16x16", "3x64x64"} <= set(words(figure))
    assert f"max {energy.max():.1f}" in words(figure)
    assert len(maps(figure)) == 2  # the last is the picture


def test_the_footprint_map_has_its_box_around_the_cell():
    change = torch.zeros(64, 64)
    change[40:48, 16:24] = 2.0
    pixels = np.asarray(plots.footprint_map(change, (5, 2), 8))
    inside, frame = pixels[40:48, 16:24], (pixels[39, 15:25], pixels[48, 15:25])
    assert (inside == inside[0, 0]).all()
    for line in frame:
        assert {to_hex(colour / 255).upper() for colour in line} == {PIXEL}
    assert pixels.shape == (64, 64, 3)


def test_the_footprint_of_a_corner_and_of_nothing_can_be_drawn():
    assert plots.footprint_map(torch.zeros(64, 64), (0, 0), 8).size == (64, 64)


def test_footprints_are_shares_of_their_peaks():
    changes = {
        "cell (1, 2)": (drawn(64, 64).abs() * 5, (1, 2)),
        "cell (0, 0)": (drawn(64, 64).abs(), (0, 0)),
    }
    figure = plots.footprints(changes, 8, "Wide")
    shown = [image for image in maps(figure) if image.get_array().shape == (64, 64)]
    assert [image.get_array().max() for image in shown] == [1, 1]
    boxes = [
        p
        for axes in figure.axes
        for p in axes.patches
        if to_hex(p.get_edgecolor()).upper() == PIXEL
    ]
    assert (15.5, 7.5) in [box.get_xy() for box in boxes]
    assert "cell (1, 2)" in figure.get_label()


def test_figures_are_nine_inches_wide():
    figure = plots.cloud(drawn(4, 8, 8), drawn(4, 8, 8).abs(), "A cloud")
    assert figure.get_size_inches()[0] == 9
