"""The figures of page 05: panels, words for those who cannot see them, sizes."""

from io import BytesIO

import pytest
import torch
from PIL import Image

from boringfusion_lite import plots


def draw(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


PICTURE = Image.new("RGB", (128, 128), "red")
POINTS = draw(20, 2)
PATHS = {name: draw(6, 9, 2) for name in ("ddim", "heun", "euler_a")}
SIZES = {g: (1 + 0.05 * abs(g), 0.001 * abs(g)) for g in (-2, 0, 1, 7.5, 20)}
LINES = {
    "ddim": ([2, 5, 10, 20], [0.9, 0.5, 0.2, 0.1]),
    "heun": ([1, 5, 9, 19], [1.2, 0.6, 0.2, 0.1]),
}
FIGURES = {
    "arrows": lambda: plots.guess_arrows(POINTS, {"t = 9": (draw(5, 2), draw(5, 2))}, "A claim"),
    "paths": lambda: plots.plane_paths(POINTS, PATHS, "A claim"),
    "rest": lambda: plots.plane_paths(POINTS, PATHS, "A claim", rest=POINTS + 1, reach=5),
    "grid": lambda: plots.picture_grid(
        {"ddim": [PICTURE] * 4, "heun": [PICTURE] * 3},
        {"ddim": ["2", "5", "10", "20"], "heun": ["1", "5", "9"]},
        "A claim",
    ),
    "distances": lambda: plots.distances_by_calls(LINES, "A claim", "distance"),
    "latents": lambda: plots.latent_paths(
        {"ddim": draw(5, 4, 8, 8), "euler_a": draw(9, 4, 8, 8), "euler_a, 1": draw(9, 4, 8, 8)},
        "A claim",
    ),
    "fan": lambda: plots.guidance_fan(
        [PICTURE] * 3, [0, 1, 20], draw(1, 4, 8, 8), draw(1, 4, 8, 8) + 1, SIZES
    ),
}
PANELS = {"arrows": 1, "paths": 3, "rest": 3, "grid": 7, "distances": 1, "latents": 1, "fan": 6}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure(name):
    figure = FIGURES[name]()
    assert len(figure.axes[1:]) == PANELS[name] and figure.get_figwidth() == 9.0
    alt = plots.show(figure).data.split('alt="')[1].split('"')[0]
    assert 20 < len(alt) < 400
    assert Image.open(BytesIO(plots.encoded(figure))).width == 900
    for axes in figure.axes[1:]:
        place = axes.get_position()
        assert 0 <= place.x0 < place.x1 <= 1 and 0 <= place.y0 < place.y1 <= 1


def test_labels_of_lines_that_end_together_do_not_touch():
    figure = FIGURES["distances"]()
    heights = [text.get_position()[1] for text in figure.axes[1].texts]
    assert heights[1] / heights[0] > 1.1 or heights[0] / heights[1] > 1.1


def test_half_precision_is_drawn_as_well():
    runs = {"ddim": draw(5, 4, 8, 8).half()}
    assert plots.latent_paths(runs, "A claim").axes
    cond = draw(1, 4, 8, 8).half()
    assert plots.guidance_fan([PICTURE] * 2, [0, 1], cond, cond, SIZES).axes  # c equal to u
