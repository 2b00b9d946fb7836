"""Controls on any drawing function: calls counted, errors in place, the same as the plain call."""

import asyncio
import threading

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("ipywidgets")

from boringfusion_lite import plots  # noqa: E402
from boringfusion_lite.widgets import Choice, Slider, Text, live  # noqa: E402


def shade(level, tint="grey", note=""):
    """A picture of one colour, and a sentence; no level 13."""
    if level == 13:
        raise ValueError("13 brings\nbad luck")
    colour = (level, level, level if tint == "grey" else 0)
    return plots.strip([Image.new("RGB", (8, 8), colour)], side=8), f"level {level} <{note}>"


@pytest.fixture
def shades():
    return live(
        shade,
        level=Slider("Level", 0, 40, 1, 10),
        tint=Choice("Tint", ["grey", "yellow"], "grey"),
        note=Text("Note", ""),
    )


def test_it_shows_what_the_plain_call_gives(shades):
    shades.controls["level"].value = 20
    shades.controls["tint"].value = "yellow"
    picture, sentence = shade(20, "yellow")
    assert shades.image.value == picture and "level 20" in shades.sentence.value
    assert "&lt;" in shades.sentence.value  # what the reader typed is text, not HTML


def test_fifty_moves_over_five_values_are_five_calls(shades):
    for move in range(50):
        shades.controls["level"].value = 20 + move % 5
    assert shades.draws == 1 + 5  # one for the first picture


def test_an_error_is_told_in_place_and_the_next_move_works(shades):
    before = shades.image.value
    shades.controls["level"].value = 13
    assert "13 brings bad luck" in shades.status.value and shades.image.value == before
    shades.controls["level"].value = 14
    assert shades.status.value == "" and shades.image.value != before


def test_moves_from_another_thread_are_drawn_on_the_thread_of_the_cells():
    threads = []

    def drawn(level):
        threads.append(threading.current_thread())
        return shade(level)

    async def page():
        shades = live(drawn, level=Slider("Level", 0, 40, 1, 10))
        for level in (20, 13, 30):  # JupyterLab answers the messages of widgets beside the cells
            await asyncio.to_thread(setattr, shades.controls["level"], "value", level)
            assert ("bad luck" in shades.status.value) == (level == 13)
        assert "level 30" in shades.sentence.value
        await asyncio.to_thread(shades.reset.click)
        assert "level 10" in shades.sentence.value

    asyncio.run(page())
    assert threads == 4 * [threading.current_thread()]


def test_start_again_draws_once(shades):
    shades.controls["level"].value, shades.controls["note"].value = 30, "hello"
    drawn = shades.draws
    shades.reset.click()
    assert shades.values == {"level": 10, "tint": "grey", "note": ""} and shades.draws == drawn


@pytest.mark.parametrize("while_moving", [False, True])
def test_it_waits_for_the_release_unless_told_otherwise(while_moving):
    one = live(shade, while_moving=while_moving, level=Slider("Level", 0, 20, 1, 5))
    assert one.controls["level"].continuous_update is while_moving


def test_every_line_has_a_fixed_height_and_every_control_a_label(shades):
    assert shades.sentence.layout.height == shades.status.layout.height == "28px"
    assert [c.description for c in shades.controls.values()] == ["Level", "Tint", "Note"]


def test_whole_numbers_stay_whole():
    named = live(shade, level=Choice("Level", [1, 5, 20], 5, ordered=True))
    assert named.values == {"level": 5}
    assert isinstance(live(shade, level=Slider("L", 0, 9, 1, 3)).values["level"], int)


def test_a_strip_of_pictures_is_quick_and_exact():
    import io

    import torch

    sheet = plots.strip([Image.new("RGB", (4, 4), "red"), torch.zeros(2, 2)], side=8, gap=2)
    pixels = np.asarray(Image.open(io.BytesIO(sheet)))
    assert pixels.shape == (8, 18, 3) and (pixels[:, :8] == (255, 0, 0)).all()


def test_pictures_are_neither_stretched_nor_sent_in_two_halves(shades):
    assert shades.image.layout.align_self == "flex-start"
    sent = []
    shades.image.observe(lambda change: sent.append(shades.image.value[:3]), names="value")
    jpeg = plots.film([Image.new("RGB", (8, 8), "red")], side=8)
    shades.draw = lambda **values: jpeg
    messages = []
    shades.image.send_state = lambda key=None: messages.append(set(key))
    shades.controls["level"].value = 30
    assert messages == [{"format", "value"}] and sent == [b"\xff\xd8\xff"]
