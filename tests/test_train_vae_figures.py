"""The figures of page 10, from results such as the stored ones, and the stored ones themselves."""

import base64
import json
import re
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from boringfusion_lite import plots
from boringfusion_lite.plots.train_vae import rmse

STORED = Path(__file__).resolve().parents[1] / "data" / "experiments"


def sheet(*colours, side=8):
    whole, buffer = Image.new("RGB", (side * len(colours), side)), BytesIO()
    for number, colour in enumerate(colours):
        whole.paste(Image.new("RGB", (side, side), colour), (number * side, 0))
    whole.save(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode()


def words(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


VAE = {"psnr": 20.0, "kl": 3.5, "noisy": [20.0, 12.0], "copies": sheet("red", "blue", "lime")}
PULL = {
    "drawings": sheet("red", "blue", "lime"),
    "noise": [0.0, 0.4],
    "vaes": {"0": VAE | {"draws": sheet("black")}, "1": VAE | {"kl": 0.0, "draws": sheet("white")}},
}


def test_a_sheet_is_cut_into_its_squares():
    pictures = plots.from_sheet(sheet("red", "blue", "lime"))
    assert [p.getpixel((4, 4)) for p in pictures] == [(255, 0, 0), (0, 0, 255), (0, 255, 0)]
    assert {p.size for p in pictures} == {(8, 8)}


def test_the_tug_of_war_has_copies_draws_and_both_prices():
    figure = plots.tug_of_war(PULL, "1", "Two")
    told = words(figure)
    assert "weight 1 ★" in told and "weight 0" in told
    assert told.count("0.2") == 2 == len([word for word in told if word in ("3.5", "0")])
    assert sum(len(axes.images) for axes in figure.axes) == 2 + 2 * 3
    assert "0: 20.0 dB, KL 3.5" in figure.get_label()


def test_an_error_of_twenty_decibels_is_a_fifth():
    assert rmse(20) == pytest.approx(0.2)


def test_lines_of_forgiveness_and_of_expected_losses():
    figure = plots.forgiveness(PULL, "Noise")
    *_, axes = figure.axes
    assert [list(line.get_ydata()) for line in axes.lines] == [[20.0, 12.0]] * 2
    assert "from 20.0 to 12.0" in figure.get_label()
    figure = plots.expected_losses([-1, 0, 1], {"a": [1, 0, 1], "b": [2, 2, 2]}, "Coin")
    assert len(figure.axes[-1].lines) == 2


def test_decoders_tell_their_numbers():
    one = {"psnr": 25.04, "sharpness": 0.913, "features": 0.0421, "copies": sheet("red", "blue")}
    figure = plots.decoders({"drawings": sheet("red", "blue"), "decoders": {"L2": one}}, "Ways")
    assert {"25.0", "0.91", "0.042", "1.00", "drawing", "L2"} <= set(words(figure))


@pytest.mark.parametrize("name", ["vae_kl", "vae_sharp"])
def test_the_stored_results_are_whole_and_small(name):
    file = STORED / f"{name}.json"
    result = json.loads(file.read_text("utf-8"))
    assert file.stat().st_size < 200_000 and result["steps"] >= 50
    found = result["vaes" if name == "vae_kl" else "decoders"]
    assert len(found) == 5 and all(10 < one["psnr"] < 40 for one in found.values())
    assert re.search(name, (STORED / f"{name}.py").read_text("utf-8"))
