"""The controls of the pages in a real browser: keyboard, a click on the track, a drag."""

import pytest
from jupyter_lab import IDLE, step_aside

PAGES = [
    "02_clip_embeddings.ipynb",
    "04_unet_denoising.ipynb",
    "05_samplers_and_guidance.ipynb",
    "06_vae_decoding.ipynb",
]
WAIT = 60_000  # milliseconds that a new picture may take on a busy machine
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.parametrize("page", PAGES, indirect=True, scope="module"),
]


@pytest.fixture
def alive(page, widgets):
    """All controls of the page, once its last cell has run."""
    page.wait_for_function(IDLE, timeout=600_000)
    assert widgets.count() >= 2
    return [widgets.nth(number) for number in range(widgets.count())]


@pytest.fixture
def state(shown):
    """What a reader sees of a widget: its picture, and the lines under it."""
    return lambda w: (shown(w), " ".join(w.locator(".widget-html").all_inner_texts()))


@pytest.fixture
def wait_for_change(page, state):
    def wait(widget, before: tuple) -> None:
        for _ in range(WAIT // 200):
            if state(widget) != before:
                return
            page.wait_for_timeout(200)
        raise AssertionError(f"nothing changed: {before}")

    return wait


def test_no_cell_failed(page, alive):
    for trouble in ("stderr", "error"):
        assert page.locator(f".jp-Notebook [data-mime-type*='{trouble}']").count() == 0
    assert page.locator(".jp-Notebook img[alt='']").count() == 0
    assert page.get_by_text("not attempted").count() >= 3


def test_every_control_has_a_label(page, alive):
    for widget in alive:
        for control in widget.locator(".widget-slider, .widget-dropdown, .widget-text").all():
            assert control.locator(".widget-label").first.inner_text().strip()


def test_every_slider_moves_by_keyboard_and_the_page_stays_as_high(
    page, alive, shown, state, wait_for_change
):
    for widget in alive:
        height, pictures = widget.bounding_box()["height"], {shown(widget)}
        for handle in widget.locator(".noUi-handle").all():
            before = state(widget)
            handle.focus()
            page.keyboard.press(step_aside(handle))
            wait_for_change(widget, before)
            pictures.add(shown(widget))
            assert widget.get_by_text("Not drawn").count() == 0
            assert widget.bounding_box()["height"] == height
        if widget.locator(".noUi-handle").count():
            assert len(pictures) > 1
        widget.get_by_role("button", name="start again").click()


def test_a_click_on_the_track_and_a_drag_move_it_too(page, alive, state, wait_for_change):
    widget = next(w for w in alive if w.locator(".noUi-handle").count())
    track = widget.locator(".noUi-target").first
    track.scroll_into_view_if_needed()
    place, before = track.bounding_box(), state(widget)
    handle = widget.locator(".noUi-handle").first.bounding_box()
    right = handle["x"] + handle["width"] / 2 > place["x"] + place["width"] / 2
    goal, back = (0.05, 0.95) if right else (0.95, 0.05)  # shares of the track
    page.mouse.click(place["x"] + goal * place["width"], place["y"] + place["height"] / 2)
    wait_for_change(widget, before)
    page.wait_for_timeout(500)  # the handle glides to where the click was
    handle, before = widget.locator(".noUi-handle").first.bounding_box(), state(widget)
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    page.mouse.down()
    page.mouse.move(place["x"] + back * place["width"], place["y"] + place["height"] / 2, steps=8)
    page.mouse.up()
    wait_for_change(widget, before)


def test_nothing_is_stretched_cut_off_or_scrolled(alive):
    for widget in alive:
        image = widget.locator(".widget-image")
        wanted, shown = image.evaluate("image => [image.naturalWidth, image.clientWidth]")
        assert shown == wanted
        for part in widget.locator(".widget-label, .widget-html").all():
            assert part.evaluate("part => part.scrollWidth <= part.clientWidth + 1"), part
        output = widget.locator("xpath=ancestor::*[contains(@class, 'jp-OutputArea-child')]").last
        assert output.evaluate("box => box.scrollHeight <= box.clientHeight + 1")
