"""Sliders, choices and text boxes on any function that draws: `live(draw, scale=Slider(...))`.

The function is the whole truth: called by hand with the same values it gives the same picture. What
was drawn lately is shown again without a call; an error is told in place, and the next move works.
"""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ipywidgets as ipw
from matplotlib.figure import Figure

from ..plots import encoded
from .cells import on_cells_thread

KEPT = 64  # drawings remembered
LINE = {"height": "28px", "width": "900px", "max_width": "100%"}
PLACE = {"max_width": "100%", "margin": "2px 14px 2px 2px"}  # of every control
TRACK, MENU, BOX = ({**PLACE, "width": width} for width in ("380px", "280px", "780px"))
AS_IT_IS = {"max_width": "100%", "align_self": "flex-start"}  # a box would stretch its pictures


@dataclass(frozen=True)
class Slider:
    """Numbers from `low` to `high` in steps, beginning at `start`; whole ones where all are."""

    label: str
    low: float
    high: float
    step: float
    start: float

    def control(self) -> ipw.Widget:
        whole = all(isinstance(n, int) for n in (self.low, self.high, self.step, self.start))
        kind = ipw.IntSlider if whole else ipw.FloatSlider
        return kind(self.start, min=self.low, max=self.high, step=self.step, layout=TRACK)


@dataclass(frozen=True)
class Choice:
    """One out of a few: a slider with named stops where they have an order, else a menu."""

    label: str
    options: Sequence
    start: object
    ordered: bool = False

    def control(self) -> ipw.Widget:
        kind = ipw.SelectionSlider if self.ordered else ipw.Dropdown
        options = [(str(option), option) for option in self.options]
        layout = TRACK if self.ordered else MENU
        return kind(options=options, value=self.start, layout=layout)


@dataclass(frozen=True)
class Text:
    """A line of text, taken over with Enter or on leaving the box."""

    label: str
    start: str

    def control(self) -> ipw.Widget:
        return ipw.Text(self.start, layout=BOX)


Drawn = Figure | bytes | tuple[Figure | bytes, str]


def live(
    draw: Callable[..., Drawn], *, while_moving: bool = False, **controls: Slider | Choice | Text
) -> "Live":
    """Controls over `draw(**values)`, which returns a picture, or a picture and a sentence.

    A picture is a Figure or the bytes of a PNG or JPEG, always of the same size. while_moving: draw
    at every stop on the way and not only where the handle is let go; for functions that take less
    than 50 ms, such as looking up what was drawn before.
    """
    return Live(draw, while_moving, controls)


class Live(ipw.VBox):
    """`draws` counts the calls of the function; `controls` holds the widgets by name."""

    def __init__(self, draw: Callable[..., Drawn], while_moving: bool, specs: dict):
        super().__init__()
        self.draw, self.draws, self._waiting = draw, 0, False
        self._drawn: dict[tuple, tuple[bytes, str]] = {}
        self.start = {name: spec.start for name, spec in specs.items()}
        self.controls = {name: spec.control() for name, spec in specs.items()}
        for name, control in self.controls.items():
            control.description = specs[name].label
            control.style.description_width = "initial"
            control.continuous_update = while_moving
            control.observe(on_cells_thread(self._redraw), names="value")
        self.reset = ipw.Button(description="start again", layout={"width": "auto"})
        self.reset.on_click(on_cells_thread(self._reset))
        self.image = ipw.Image(format="png", value=b"", layout=AS_IT_IS)
        self.sentence, self.status = ipw.HTML(layout=LINE), ipw.HTML(layout=LINE)
        above = ipw.HBox([*self.controls.values(), self.reset], layout={"flex_flow": "row wrap"})
        self.children = [above, self.image, self.sentence, self.status]
        self._redraw()

    @property
    def values(self) -> dict:
        """What the controls say now."""
        return {name: control.value for name, control in self.controls.items()}

    def _redraw(self, _=None) -> None:
        """Draw what the controls say; where that fails, say why and keep the last picture."""
        if self._waiting:
            return
        try:
            picture, sentence = self._drawing(self.values)
        except Exception as error:  # from a browser, nobody else would tell the reader
            reason = html.escape(" ".join(str(error).split()) or type(error).__name__)
            self.status.value = f"<b>Not drawn:</b> {reason}"
            return
        self.status.value = ""
        with self.image.hold_sync():  # one message: no picture under the wrong name
            self.image.format = "png" if picture.startswith(b"\x89PNG") else "jpeg"
            self.image.value = picture
        self.sentence.value = html.escape(sentence)

    def _drawing(self, values: dict) -> tuple[bytes, str]:
        key = tuple(values.values())
        if key not in self._drawn:
            drawn = self.draw(**values)
            self.draws += 1
            picture, sentence = drawn if isinstance(drawn, tuple) else (drawn, "")
            picture = encoded(picture) if isinstance(picture, Figure) else picture
            if len(self._drawn) >= KEPT:
                del self._drawn[next(iter(self._drawn))]
            self._drawn[key] = picture, sentence
        return self._drawn[key]

    def _reset(self, _=None) -> None:
        """Back to the values of the beginning, in one go."""
        self._waiting = True
        for name, control in self.controls.items():
            control.value = self.start[name]
        self._waiting = False
        self._redraw()

    def __repr__(self) -> str:
        labels = ", ".join(control.description for control in self.controls.values())
        return f"Controls: {labels}. They come alive when this page is run."
