"""The figures of the pages that train."""

import numpy as np
import pytest

from boringfusion_lite import plots
from boringfusion_lite.plots.training import MOST_POINTS, smooth

FALLING = [(n / 10, 4 * 0.99**n) for n in range(1000)]


def test_a_smoothed_curve_is_short_and_keeps_level_and_order():
    line = smooth(FALLING)
    assert len(line) == MOST_POINTS and (np.diff(line[:, 0]) > 0).all()
    assert (np.diff(line[:, 1]) < 0).all() and line[0, 1] <= 4
    assert np.allclose(smooth([(x, 2.0) for x, _ in FALLING])[:, 1], 2)
    assert smooth([]).shape == (0, 2) and smooth([(1, 5)]).tolist() == [[1, 5]]


@pytest.mark.parametrize(
    "figure",
    [
        plots.loss_curve(FALLING, "falls", levels={"floor": 0.5}, end=120),
        plots.loss_curve({"a": FALLING, "b": FALLING[:3], "c": []}, "falls", log=True),
        plots.loss_curve([], "nothing yet"),
        plots.growth(FALLING, {0: [np.zeros((4, 4))], 90.0: [np.eye(4)]}, "it grows"),
        plots.arms({"a": FALLING}, {"a": (5, 10)}, "half", measured="found", chance=0.1),
        plots.softmax_rows({"cold": [0.9, 0.1], "hot": [0.5, 0.5]}, 0, "less sure"),
    ],
)
def test_it_is_drawn_at_the_width_of_the_house_with_words_for_it(figure):
    assert figure.get_size_inches()[0] == 9 and len(figure.get_label()) > 10
    assert plots.encoded(figure)


def test_the_words_of_a_figure_hold_its_numbers():
    assert "from 3." in plots.loss_curve(FALLING, "falls").get_label()
    told = plots.arms({}, {"a": (5, 10)}, "half", measured="found").get_label()
    assert "found: a 50%" in told
