"""Page 00 in a real browser: its prompt studio, and how a control behaves that cannot draw."""

import os
from time import monotonic

import pytest

NOTEBOOK = "00_first_image.ipynb"
EXTRA_CELL = """
from PIL import Image


def shade(level):
    if level == 13:
        raise ValueError("13 brings bad luck")
    return plots.strip([Image.new("RGB", (64, 64), (level, level, level))]), f"level {level}"


widgets.live(shade, level=widgets.Slider("Level", 10, 20, 1, 12))
"""
pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def studio(page, widgets):
    page.locator(".widget-image").nth(1).wait_for()  # the extra cell has run: so have all
    return widgets.first


def slider(widget, name: str):
    """The handle of the slider with that label: what the keyboard moves."""
    return widget.locator(".widget-slider", has_text=name).locator(".noUi-handle")


def test_every_cell_ran(page, studio):
    for trouble in ("stderr", "error"):
        assert page.locator(f".jp-Notebook [data-mime-type*='{trouble}']").count() == 0
    assert page.locator(".jp-Notebook img[alt='']").count() == 0
    assert page.get_by_text("not attempted").count() >= 3


def test_arrow_keys_walk_through_the_steps_without_the_model(page, studio, shown):
    before, status = shown(studio), studio.get_by_text("Shown after").inner_text()
    height = studio.bounding_box()["height"]
    handle = slider(studio, "Look at step")
    handle.focus()
    step = float(handle.get_attribute("aria-valuenow"))
    page.keyboard.press("ArrowRight")
    studio.get_by_text(f"Step {step + 1:.0f} of").wait_for()
    assert shown(studio) != before
    studio.get_by_role("button", name="one step back").click()
    studio.get_by_text(f"Step {step:.0f} of").wait_for()
    assert shown(studio) == before
    assert studio.get_by_text("Shown after").inner_text() == status
    assert studio.bounding_box()["height"] == height


def test_a_click_on_the_track_and_a_drag_move_through_the_steps(page, studio, shown):
    before, status = shown(studio), studio.get_by_text("Shown after").inner_text()
    control = studio.locator(".widget-slider", has_text="Look at step")
    track = control.locator(".noUi-target").bounding_box()
    left, middle = track["x"], track["y"] + track["height"] / 2
    page.mouse.click(left + 0.02 * track["width"], middle)
    studio.get_by_text("Step 1 of 20").wait_for()
    assert shown(studio) != before
    page.wait_for_timeout(500)  # the handle glides to where the click was
    handle = control.locator(".noUi-handle").bounding_box()
    page.mouse.move(handle["x"] + handle["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(left + track["width"], middle, steps=8)
    page.mouse.up()
    studio.get_by_text("Step 20 of 20").wait_for()
    assert studio.get_by_text("Shown after").inner_text() == status  # the model was not asked


def test_an_unknown_word_is_named_in_place(page, studio):
    height = studio.bounding_box()["height"]
    box = studio.locator("input[type=text]").first
    box.fill("a purple qqxyzzy")
    box.press("Enter")
    bundled = not os.environ.get("BORINGFUSION_MODEL")
    if bundled or "tiny" in os.environ["BORINGFUSION_MODEL"]:
        studio.get_by_text("The model does not know: qqxyzzy").wait_for()
    assert studio.bounding_box()["height"] == height


def test_a_new_seed_draws_a_new_picture(page, studio, shown):
    studio.get_by_text("Shown after").wait_for()
    before, begun = shown(studio), monotonic()
    slider(studio, "Seed").focus()
    page.keyboard.press("ArrowRight")
    while shown(studio) == before:  # the seconds that it tells can be those of the last one
        assert monotonic() - begun < 60
        page.wait_for_timeout(100)
    studio.get_by_text("Shown after").wait_for()
    studio.get_by_role("button", name="start again").click()
    page.wait_for_function(
        "box => box.value.startsWith('photo of a couch')",
        arg=studio.locator("input[type=text]").first.element_handle(),
    )
    studio.get_by_text("Step 12 of 20").wait_for()


def test_an_error_shows_in_place_and_the_next_move_works(page, studio, widgets, shown):
    trial = widgets.nth(1)
    handle, before, height = slider(trial, "Level"), shown(trial), trial.bounding_box()["height"]
    handle.focus()
    page.keyboard.press("ArrowRight")
    trial.get_by_text("13 brings bad luck").wait_for()
    assert shown(trial) == before and trial.bounding_box()["height"] == height
    page.keyboard.press("ArrowRight")
    trial.get_by_text("level 14").wait_for()
    assert trial.get_by_text("bad luck").count() == 0 and shown(trial) != before
    assert trial.bounding_box()["height"] == height
