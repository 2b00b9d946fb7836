"""Watch a training while it goes on: `records = await widgets.training(run, draw)`.

    run = Run("clip", clip, loss, Path("runs/09"), minutes=MINUTES, learning_rate=1e-3)
    records = await widgets.training(run, draw)   # the cell ends when the minutes are spent

`draw()` makes a Figure or the bytes of a picture, always of the same size, out of the model as it
is now; it is called before the first step, then about every 15 seconds of training, and at the end,
without gradients. What comes back are the records of all steps, earlier calls counted in.

The cell itself trains, so that the cells below it find a trained model: in JupyterLab, with "run
all", and where nobody looks (nbval, `notebooks/run.py`). Four times a second it awaits, and that is
when the kernel hears the buttons; a front end that cannot pass on clicks while a cell is busy (an
ipykernel older than 7) leaves Jupyter's own Interrupt. Outside a notebook: `asyncio.run(...)`.

- Pause stands still after the step at hand and writes the checkpoint; Resume goes on.
- Interrupt also lets the step at hand finish, writes the checkpoint, and then stops the page as it
  always does. A second Interrupt stops at once.
- After either, and after a kernel that was killed (then at most half a minute is lost), the same
  cell goes on from the checkpoint, and the curve with it. To begin anew, delete the run's folder.

At the end the controls make way for two pictures, which are what is stored in the page.
"""

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import ipywidgets as ipw
import torch
from IPython.display import HTML, display
from matplotlib.figure import Figure

from .. import plots
from ..training import Record, Run
from .live import AS_IT_IS, LINE

SAVE_EVERY = 30.0  # seconds of training between two checkpoints, at most
LISTEN_EVERY, LISTEN = 0.25, 0.005  # seconds: how often the kernel hears the buttons, how long
REDRAW = 3.0  # seconds between two drawings of the curve


async def training(
    run: Run,
    draw: Callable[[], Figure | bytes],
    every: float = 15.0,
    levels: Mapping[str, float] | None = None,
    log: bool = False,
) -> list[Record]:
    """Train until the run's minutes are spent, showing its loss and what `draw` draws of it.

    every: seconds of training between two drawings; levels, log: see `plots.loss_curve`. A run
    whose minutes are spent is shown as it is. KeyboardInterrupt where it was interrupted.
    """
    panel = Training(run, draw, every, {"levels": levels, "log": log})
    shown = display(panel, display_id=True)
    await panel.go()
    if shown is not None:
        shown.update(panel.pictures())
    return panel.records


class Training(ipw.VBox):
    """Two buttons, a bar, a line of text, the curve and the samples; `go` trains."""

    def __init__(self, run: Run, draw: Callable, every: float, options: Mapping):
        super().__init__()
        self.run, self.draw, self.every, self.options = run, draw, every, options
        run.save_every = min(run.save_every, SAVE_EVERY)
        self.records, self.paused = read_records(records_file(run), run.step), False
        self.pause, self.resume = (
            ipw.Button(description=name, layout={"width": "auto"}) for name in ("pause", "resume")
        )
        self.pause.on_click(lambda _: self._press(True))
        self.resume.on_click(lambda _: self._press(False))
        self.bar = ipw.FloatProgress(run.progress, min=0, max=1, layout={"width": "380px"})
        self.status = ipw.HTML(layout=LINE)
        self.curve, self.samples = (ipw.Image(value=b"", layout=AS_IT_IS) for _ in range(2))
        above = ipw.HBox([self.pause, self.resume, self.bar], layout={"flex_flow": "row wrap"})
        self.children = [above, self.status, self.curve, self.samples]
        self._press(False)

    def _press(self, pause: bool) -> None:
        """What a button does: a flag, read between two steps."""
        self.paused, self.pause.disabled, self.resume.disabled = pause, pause, not pause

    async def go(self) -> None:
        """Train through to the end of the budget; KeyboardInterrupt where it was interrupted."""
        drawn = looked = heard = -float("inf")
        with interrupts_noted() as interrupts, torch.enable_grad():
            if self.run.progress < 1:
                self._look("begins")
            for record in self.run.train():
                self.records.append(record)
                if time.monotonic() - drawn > REDRAW:
                    self._redraw()
                    drawn = time.monotonic()
                if record.seconds - looked > self.every:
                    self._look("training")
                    looked = record.seconds
                if time.monotonic() - heard > LISTEN_EVERY:
                    await asyncio.sleep(LISTEN)
                    heard = time.monotonic()
                if self.paused:
                    await self._wait(interrupts)
                if interrupts:
                    break
        self._finish(interrupted=bool(interrupts) and self.run.progress < 1)

    async def _wait(self, interrupts: list) -> None:
        """Stand still until Resume or Interrupt; nothing is lost if the kernel ends meanwhile."""
        self._save()
        self._look("paused, and saved")
        while self.paused and not interrupts:
            await asyncio.sleep(0.05)

    def _finish(self, interrupted: bool) -> None:
        self.pause.disabled = self.resume.disabled = True
        if interrupted:
            self._save()
            self._redraw()
            self.status.value = self.told("interrupted, and saved: run the cell again to go on")
            raise KeyboardInterrupt("training stopped between two steps; run the cell again")
        self._redraw()
        self._look("finished")

    def _save(self) -> None:
        self.run.save()
        write_records(records_file(self.run), self.records)

    def _look(self, state: str) -> None:
        """Draw what the model does now."""
        self.status.value = self.told(state)
        with torch.no_grad():
            show_in(self.samples, self.draw())
        self.run.model.train()

    def _redraw(self) -> None:
        """Bring bar, text and curve up to date, and the curve's file with them."""
        write_records(records_file(self.run), self.records)
        self.bar.value, self.status.value = self.run.progress, self.told("training")
        show_in(self.curve, self.figure())

    def figure(self) -> Figure:
        """The loss so far."""
        points, end = [(r.seconds / 60, r.loss) for r in self.records], self.run.minutes
        end = max([end, *(minutes for minutes, _ in points[-1:])])
        return plots.loss_curve(points, self.told(), end=end, **self.options)

    def told(self, state: str = "") -> str:
        """Where the run stands, in a line."""
        run = self.run
        spent = min(run.seconds / 60, run.minutes)
        told = f"{run.name}: {spent:.2g} of {run.minutes:g} minutes, step {run.step:,}, "
        return f"{told}{run.samples:,} samples{': ' * bool(state)}{state}"

    def pictures(self) -> HTML:
        """Curve and samples as two images that stay in the page."""
        curve = plots.show(bytes(self.curve.value), f"The loss. {self.told()}.")
        samples = plots.show(bytes(self.samples.value), f"Drawn at the end. {self.told()}.")
        return HTML(f"{curve.data}<br>{samples.data}")

    def __repr__(self) -> str:
        return f"Training with pause and resume. {self.told()}."


@contextmanager
def interrupts_noted() -> Iterator[list]:
    """A list that the first Ctrl-C goes into, so that no step is cut in half; the second raises."""
    noted = []

    def note(number, _):
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # only the main thread hears signals
        yield noted
        return
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def show_in(image: ipw.Image, drawn: Figure | bytes) -> None:
    """Put a figure, or the bytes of a picture, into an image on the page."""
    data = plots.encoded(drawn) if isinstance(drawn, Figure) else drawn
    with image.hold_sync():  # one message
        image.format = "png" if data.startswith(b"\x89PNG") else "jpeg"
        image.value = data


def records_file(run: Run) -> Path:
    """Where the curve of a run is kept: beside its checkpoint."""
    return run.folder / f"{run.name}-losses.json"


def write_records(file: Path, records: list[Record]) -> None:
    """Keep a curve; the old file stays until the new one is complete."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [[r.step, r.loss, r.learning_rate, r.seconds, r.samples] for r in records]
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(rows), "utf-8")
    partial.replace(file)


def read_records(file: Path, steps: int) -> list[Record]:
    """The curve up to the step that the checkpoint holds; later steps are taken again."""
    rows = json.loads(file.read_text("utf-8")) if file.exists() else []
    return [Record(*row) for row in rows if row[0] <= steps]
