"""The figures of page 04: one scale a figure, alt text with the numbers, small images."""

import pytest
import torch
from PIL import Image

from boringfusion_lite import anatomy, plots
from boringfusion_lite.plots.canvas import SMALL
from boringfusion_lite.unet import UNet, UNetConfig

MAPS = [torch.rand(size, size, generator=torch.Generator().manual_seed(size)) for size in (4, 8)]


@pytest.fixture(scope="module")
def unet():
    levels = {"channels": (16, 32), "attention": (True, False), "heads": (2, 2), "groups": 8}
    return UNet(UNetConfig(sample_size=8, context_width=32, blocks_per_level=1, **levels)).eval()


def picture(size=64):
    return Image.new("RGB", (size, size), "red")


def heat_maps(figure):
    images = [image for axes in figure.axes for image in axes.images]
    return [image for image in images if image.get_array().ndim == 2]


def bars(figure):
    return [axes for axes in figure.axes if hasattr(axes, "_colorbar")]


def every_figure(unet):
    x, context = torch.zeros(1, 4, 8, 8), torch.zeros(1, 77, 32)
    with anatomy.features(unet) as seen:
        table = anatomy.unet_table(unet, x, 10, context)
    five, errors = [picture()] * 5, torch.rand(3, 4)
    gaps = torch.rand(5, 64, 64)
    flows = {name: calls[0][0] for name, calls in seen.items()}
    rivals = {"predict zero": [1.0] * 3, "scale the input": [0.9, 0.5, 0.1]}
    return {
        "depth": plots.depth_guesses([9, 7, 5, 3, 1], five, five, gaps, [0.1] * 5, picture()),
        "errors": plots.error_chart([10, 20, 30], errors, rivals, "Low", "error"),
        "clean errors": plots.error_chart([10, 20, 30], errors, {}, "Low", "error", log=True),
        "time": plots.time_fingerprints(range(0, 1000, 8), torch.rand(125, 32), "Clocks"),
        "u": plots.u_diagram(table, flows, "A U"),
        "cut": plots.ablation({"whole": picture(), "cut 0": picture()}, {"coarse": [0, 1]}),
        "grid": plots.map_grid({"up 1": MAPS, "up 2": [None, picture()]}, ["a", "b"], "A", "share"),
        "words": plots.word_maps([picture(), *MAPS * 5], list("abcdefghijk"), "Words", "share"),
    }


def test_every_figure_has_house_form(unet):
    for name, figure in every_figure(unet).items():
        assert figure.get_size_inches()[0] == 9, name
        assert len(figure.get_label()) > 20, name
        assert len(plots.encoded(figure)) <= SMALL, name
        sizes = [text.get_size() for axes in figure.axes for text in axes.texts]
        assert min(sizes) >= 8, name


@pytest.mark.parametrize("name", ["depth", "grid", "words"])
def test_maps_share_one_scale_and_one_bar(unet, name):
    figure = every_figure(unet)[name]
    limits = {tuple(image.get_clim()) for image in heat_maps(figure)}
    assert len(limits) == 1
    assert len(bars(figure)) == 1
    if name != "depth":
        assert max(limits)[1] == pytest.approx(max(float(one.max()) for one in MAPS))


def test_signed_maps_are_symmetric():
    figure = plots.map_grid(
        {"row": [MAPS[0] - 2, MAPS[1]]}, ["a", "b"], "Signed", "activation", True
    )
    (low, high), *_ = {tuple(image.get_clim()) for image in heat_maps(figure)}
    assert low == -high == pytest.approx(float((MAPS[0] - 2).min()))


def test_strips_for_sliders():
    top = float(MAPS[0].max())
    heat = plots.heat(MAPS[0], top)
    assert heat.size == (4, 4)
    row, column = divmod(int(MAPS[0].argmax()), 4)
    assert heat.getpixel((column, row)) == plots.heat(torch.full((1, 1), top), top).getpixel((0, 0))
    assert plots.heat_bar(0.5, "share").size == (256, 256)
    film = plots.film([picture(), picture()])
    assert film.startswith(b"\xff\xd8") and len(film) < 20_000
