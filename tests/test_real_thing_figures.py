"""The figures of page 08: areas that tell the truth, words inside the page, small images."""

import pytest

from boringfusion_lite import plots
from boringfusion_lite.plots.canvas import SMALL

SMALL_MODEL = {"text encoder": {"a": 30, "b": 10}, "UNet": {"c": 50}, "VAE": {"d": 5, "e": 5}}
LARGE_MODEL = {"text encoder": {"a": 900}, "UNet": {"b": 2000, "c": 5000}, "VAE": {"d": 2100}}
FILE = {
    "text encoder": {"layers.0": {"one": 100, "two": 300}, "layers.1": {"three": 200}},
    "UNet": {"down.0": {"four": 900}, "up.0": {"five": 50, "six": 50}},
    "the rest": {"betas": {"betas": 1}},
}
BITS = {"float32": (8, 23), "float16": (5, 10)}
ROWS = [("our layer", "in the file", "shape", "numbers"), ("res.norm1", "a.0", "[320]", "320")]
FORMATS = {
    "one .safetensors, float32": {
        "file": 4_265_000_000,
        "ours": {"seconds": 1.5, "peak": 4_300_000_000},
        "diffusers": {"seconds": 9.4, "peak": 8_700_000_000},
    },
    "folder of .bin, float16": {
        "file": 2_130_000_000,
        "ours": {"seconds": 1.5, "peak": 5_000_000_000},
        "diffusers": {"seconds": 19.4, "peak": 9_000_000_000},
    },
}


def every_figure():
    return {
        "bones": plots.bones(SMALL_MODEL, LARGE_MODEL, ["small", "large"], "Two models"),
        "keys": plots.key_map(FILE, "A file"),
        "step": plots.step_card([5, 100, 20], 1, ROWS * 11, "A step"),
        "peaks": plots.peaks(FORMATS, "Memory"),
        "bits": plots.number_bits(BITS, ["four bytes", "two bytes"], "Bits"),
    }


def areas(figure):
    """Width times height of every tile, in the order in which they were drawn."""
    boxes = [p.get_extents() for c in figure.axes[0].collections for p in c.get_paths()]
    return [box.width * box.height for box in boxes]


def test_every_figure_has_house_form():
    for name, figure in every_figure().items():
        assert figure.get_size_inches()[0] == 9, name
        assert len(figure.get_label()) > 20, name
        assert len(plots.encoded(figure)) <= SMALL, name
        sizes = [text.get_size() for axes in figure.axes for text in axes.texts]
        assert min(sizes) >= 8, name


def test_words_stay_on_the_page():
    for name, figure in every_figure().items():
        figure.canvas.draw()
        width = figure.bbox.width
        for text in figure.axes[0].texts:
            box = text.get_window_extent()
            assert 0 <= box.x0 and box.x1 <= width + 1, (name, text.get_text())


def test_areas_are_parameters():
    small, large = every_numbers(SMALL_MODEL), every_numbers(LARGE_MODEL)
    found = areas(plots.bones(SMALL_MODEL, LARGE_MODEL, ["small", "large"], "Two models"))
    left, right, true = (
        found[: len(small)],
        found[len(small) : -len(small)],
        found[-len(small) :],
    )
    assert [area / sum(left) for area in left] == pytest.approx([n / 100 for n in small])
    assert [area / sum(right) for area in right] == pytest.approx([n / 10_000 for n in large])
    assert [area / right[0] for area in true] == pytest.approx([n / 900 for n in small])


def every_numbers(model):
    return [count for blocks in model.values() for count in blocks.values()]


def test_areas_are_bytes():
    sizes = [n for blocks in FILE.values() for keys in blocks.values() for n in keys.values()]
    found = areas(plots.key_map(FILE, "A file"))
    assert [a / sum(found) for a in found] == pytest.approx([n / sum(sizes) for n in sizes])


@pytest.mark.parametrize(
    ("count", "told"),
    [(859_520_964, "860 M"), (1_066_235_307, "1.07 G"), (40_213, "40.2 k"), (64, "64"), (0, "0")],
)
def test_counts_in_three_digits(count, told):
    assert plots.short(count) == told
