"""The figures of page 12: findings in the alt text, marks in their places."""

import pytest
import torch
from PIL import Image

from boringfusion_lite import plots
from boringfusion_lite.manifold import radii
from boringfusion_lite.runtime import generator

REACH = 0.5, 0.4, 0.7


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def lines(figure):
    return [line for axes in figure.axes for line in axes.lines]


def test_trust_draws_both_halves_and_rings_what_is_asked():
    curves = {"real": {10: [3.0, 4.0], 100: [1.0, 1.2]}, "ours": {10: [5.0, 6.0], 100: [3.0, 3.1]}}
    trade = {1: ((0.4, 0.3, 0.5), (0.9, 0.8, 1.0)), 7.5: ((0.9, 0.8, 0.95), (0.5, 0.4, 0.6))}
    plain = plots.trust(curves, trade)
    assert "real from 3.5 to 1.1" in plain.get_label()
    assert "g 7.5: 90% right, spread 0.50" in plain.get_label()
    assert len(lines(plots.trust(curves, trade, size=10))) == len(lines(plain)) + 1
    assert len(lines(plots.trust(curves, trade, scale=7.5))) == len(lines(plain)) + 1
    assert {"1", "7.5"} <= set(texts(plain))
    assert plots.encoded(plain)


def test_panels_take_numbers_words_and_intervals():
    charts = {
        "steps": {"trained": {5: REACH, 10: REACH}, "new": {5: (0.2, 0.1, 0.3), 10: REACH}},
        "samplers": {"trained": {"ddim": REACH, "heun": REACH}, "new": {"ddim": REACH}},
    }
    figure = plots.panels(charts, "A claim", ylabel="share", levels={"goal": 0.9}, log=["steps"])
    assert "new from 0.20 to 0.50" in figure.get_label()
    names = [tick.get_text() for tick in figure.axes[2].get_xticklabels()]
    assert "heun" in names
    assert plots.encoded(plots.panels({"": {"a line": {0.1: 0.2, 0.3: 0.4}}}, "A claim"))


def test_dots_have_a_line_a_row():
    rows = {name: {"trained": REACH, "never": REACH} for name in ("thing", "colour", "place")}
    figure = plots.dots(rows, "A claim", "share")
    assert [t.get_text() for t in figure.axes[1].get_yticklabels()] == list(rows)
    assert "colour trained 50%, never 50%" in figure.get_label()
    assert plots.encoded(figure)


def test_territories_have_a_ball_for_every_real_point():
    real = torch.randn(12, 2, generator=generator(0))
    figure = plots.territories({"good": (real, real)}, ["precision 1"], radii, "A claim")
    assert len(figure.axes[1].patches) == 12
    assert "precision 1" in texts(figure)
    assert plots.encoded(figure)


def test_closeness_tells_its_means():
    far = {"new": torch.tensor([1.0, 2, 3]), "ours": torch.tensor([1.5, 2.5])}
    figure = plots.closeness(far, "A claim", limit=1.0)
    assert "new 2.00, ours 2.00" in figure.get_label()
    assert plots.encoded(figure)


@pytest.mark.parametrize(("way", "winner"), [("high", "30"), ("low", "10"), (19.0, "20")])
def test_scoreboard_marks_the_best(way, winner):
    rows = {name: {"score": value} for name, value in zip("abc", (10.0, 20.0, 30.0))}
    pictures = {name: [Image.new("RGB", (8, 8))] for name in rows}
    figure = plots.scoreboard(rows, pictures, {"score": way}, "A claim", {"score": "{:.0f}"})
    bold = [t for axes in figure.axes for t in axes.texts if t.get_weight() == "bold"]
    assert [t.get_text() for t in bold] == ["A claim", winner]
    assert plots.encoded(figure)
