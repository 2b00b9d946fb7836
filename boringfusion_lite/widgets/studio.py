"""The prompt studio of page 00: a prompt, a seed, steps and guidance, and every step to look at.

The model runs when a control is let go, never while it moves, and the picture is shown as soon as
it is there. The other steps are decoded one by one while the kernel has nothing else to do; looking
through them runs nothing at all. `film.draw` gives without any widget what the studio shows.
"""

import asyncio
import html
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import NamedTuple

import ipywidgets as ipw

from ..pipeline import StableDiffusion
from .cells import on_cells_thread
from .film import GAP, Drawing, draw, panel_side

KEPT = 16  # drawings remembered
BREATH = 0.01  # seconds between two frames in which the kernel hears what the reader does
COLUMNS = ("noisy latents going in", "clean-guess", "finished picture")


class Settings(NamedTuple):
    """What a picture depends on, besides the model."""

    prompt: str
    seed: int = 0
    steps: int = 20
    guidance: float = 7.5


def prompt_studio(
    sd: StableDiffusion, prompt: str, seed: int = 0, steps: int = 20, guidance: float = 7.5
) -> "Studio":
    """A prompt box with seed, steps and guidance, and a slider through the steps of the picture."""
    return Studio(sd, Settings(prompt, seed, steps, guidance))


class Studio(ipw.VBox):
    """`draws` counts the runs of the model; what was drawn lately is shown again without one."""

    def __init__(self, sd: StableDiffusion, start: Settings):
        super().__init__()
        self.sd, self.start, self.draws = sd, start, 0
        self._drawings: dict[Settings, Drawing] = {}
        self._shown: Drawing | None = None
        self._waiting = False
        self._make_controls(start)
        line = {"height": "28px", "width": "816px", "max_width": "100%"}
        self.notes, self.status, self.sentence = (ipw.HTML(layout=line) for _ in range(3))
        self.headings, self.image = ipw.HTML(), ipw.Image(format="png", value=b"")
        wrap = {"flex_flow": "row wrap"}
        above = ipw.HBox([self.seed, self.steps, self.guidance], layout=wrap)
        below = ipw.HBox([self.step, self.back, self.forward, self.reset], layout=wrap)
        shown = (self.status, self.headings, self.image, below, self.sentence)
        self.children = [self.prompt, self.notes, above, *shown]
        self._redraw()

    def _make_controls(self, start: Settings) -> None:
        common = {"continuous_update": False, "style": {"description_width": "65px"}}
        wide = {"width": "816px", "max_width": "100%"}
        self.prompt = ipw.Text(start.prompt, description="Prompt", layout=wide, **common)
        third = common | {"layout": {"width": "268px"}}
        self.seed = ipw.IntSlider(start.seed, 0, 99, description="Seed", **third)
        self.steps = ipw.IntSlider(start.steps, 1, 50, description="Steps", **third)
        self.guidance = ipw.FloatSlider(
            start.guidance, min=1, max=15, step=0.5, description="Guidance", **third
        )
        style = {"style": {"description_width": "80px"}, "layout": {"width": "460px"}}
        self.step = ipw.IntSlider(1, 1, 1, description="Look at step", **style)
        self.back, self.forward, self.reset = (
            ipw.Button(description=name, layout={"width": "auto"})
            for name in ("one step back", "one step on", "start again")
        )
        for control in (self.prompt, self.seed, self.steps, self.guidance):
            control.observe(on_cells_thread(self._redraw), names="value")
        self.step.observe(on_cells_thread(self._scrub), names="value")
        self.back.on_click(lambda _: self.step.set_trait("value", self.step.value - 1))
        self.forward.on_click(lambda _: self.step.set_trait("value", self.step.value + 1))
        self.reset.on_click(on_cells_thread(self._reset))

    @property
    def settings(self) -> Settings:
        """What the controls say now."""
        return Settings(self.prompt.value, self.seed.value, self.steps.value, self.guidance.value)

    def _redraw(self, _=None) -> None:
        """Draw what the controls say; an error is told in place, and the next move tries again."""
        if self._waiting:
            return
        self.status.value, began = "drawing ...", perf_counter()
        with self._telling():
            self.notes.value = self._remarks()
            self._shown = self._drawing(self.settings)
            self._fit()
            self._scrub()
            self.status.value = f"Shown after {perf_counter() - began:.2f} s."
            self._when_idle()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell an error in place; where a browser called, nobody else would tell the reader."""
        try:
            yield
        except Exception as error:
            reason = html.escape(" ".join(str(error).split()) or type(error).__name__)
            self.status.value = f"<b>Not drawn:</b> {reason}"

    def _when_idle(self) -> None:
        """Where there is an event loop, as in a notebook, develop the film between its events."""
        with suppress(RuntimeError):  # no loop: frames are decoded when they are looked at
            asyncio.get_running_loop().call_later(BREATH, self._develop, self._shown)

    def _develop(self, drawing: Drawing) -> None:
        """Decode one more step of the drawing on show; moves of the reader come in between."""
        if drawing is self._shown and (missing := drawing.frames.missing()):
            with suppress(Exception):  # told when the reader comes to that step
                drawing.frames[min(missing, key=lambda number: abs(number + 1 - self.step.value))]
                self._when_idle()

    def _remarks(self) -> str:
        """Which words do nothing, and which end of the prompt is cut off; "" where all is read."""
        prompt, remarks = self.prompt.value, []
        if unknown := list(dict.fromkeys(self.sd.unknown_words(prompt))):
            words = html.escape(", ".join(unknown))
            remarks.append(f"The model does not know: <b>{words}</b>. Such words do nothing.")
        if tail := self.sd.tokenizer.cut_tail(prompt):
            remarks.append(f"Cut off: <s>{html.escape(tail[:60])}</s>.")
        return " ".join(remarks)

    def _drawing(self, wanted: Settings) -> Drawing:
        if wanted not in self._drawings:
            self._drawings[wanted] = draw(self.sd, *wanted)
            self.draws += 1
            if len(self._drawings) > KEPT:
                del self._drawings[next(iter(self._drawings))]
        return self._drawings[wanted]

    def _fit(self) -> None:
        """Make the step slider as long as the run, and the image as large as its frames."""
        steps, side = len(self._shown.frames), panel_side(self._shown.picture)
        if self.step.max != steps:
            self.step.max = steps
            self.step.value = round(0.6 * steps)  # in the middle of the story
        width = f"{3 * side + 2 * GAP}px"
        self.image.layout = {"width": width, "height": f"{side}px", "object_fit": "contain"}
        cell = f"<span style='display:inline-block; width:{side + GAP}px'>"
        self.headings.value = "".join(f"{cell}{text}</span>" for text in COLUMNS)

    def _scrub(self, _=None) -> None:
        """Show a step of the picture that is there: once it is decoded, bytes change places."""
        number = self.step.value - 1
        if self._shown is not None and number < len(self._shown.frames):
            with self._telling():
                self.image.value = self._shown.frames[number]
                self.sentence.value = self._shown.sentences[number]

    def _reset(self, _=None) -> None:
        """Back to the settings of the beginning, in one go."""
        self._waiting = True
        for control, value in zip((self.prompt, self.seed, self.steps, self.guidance), self.start):
            control.value = value
        self._waiting, self.step.max = False, 1  # the step goes back to the middle
        self._redraw()

    def __repr__(self) -> str:
        return "The prompt studio. It comes alive when this page is run."
