"""The figures of page 11: kept pictures come back, curves and dots are drawn."""

import base64

import pytest
from PIL import Image

from boringfusion_lite import plots


def test_kept_pictures_are_those_of_the_film():
    colours = ("red", "green", "blue", "yellow")
    pictures = [Image.new("RGB", (64, 64), colour) for colour in colours]
    film = base64.b64encode(plots.film(pictures, 64)).decode()
    back = plots.kept_pictures(film)
    assert [picture.size for picture in back] == [(64, 64)] * 4
    for old, new in zip(pictures, back):
        near = zip(old.getpixel((32, 32)), new.getpixel((32, 32)))
        assert all(abs(one - other) < 12 for one, other in near)


@pytest.mark.parametrize("dotted", [None, {"best": [1e-9, 0.1]}])
def test_errors_by_timestep(dotted):
    curves = {"eps": [0.5, 0.01], "x0": [3.0, 0.02]}
    what = {"error": curves, "weight": {"one": [1, 1]}}
    figure = plots.by_timestep([50, 950], what, "Claim", dotted=dotted, floor=1e-4)
    assert "eps 0.01 to 0.5" in figure.get_label() and "Claim" in figure.get_label()
    errors = figure.axes[1]
    assert errors.get_ylim()[0] == 1e-4 and len(errors.lines) == 2 + bool(dotted)
    assert plots.encoded(figure)


def test_brightness():
    groups = {"plain": {"night": [-0.5, -0.3], "white": [0.5, 0.7]}}
    figure = plots.brightness(groups, "Claim")
    assert "plain, night: -0.40" in figure.get_label()
    assert [len(line.get_xdata()) for line in figure.axes[1].lines] == [2, 2]
