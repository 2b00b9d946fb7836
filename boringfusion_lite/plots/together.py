"""Page 07: the score of a run, what a change reaches, and every tensor on one sheet."""

from collections.abc import Mapping, Sequence
from io import BytesIO

from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..timeline import Call
from .canvas import (
    DPI,
    EMPTY,
    LATENT,
    MONO,
    NOISE,
    PIXEL,
    PROMPT,
    SIGNAL,
    SIGNED,
    arrow,
    box,
    chart,
    new_page,
    numbers,
    say,
    signed_rgb,
    tile,
)

LANES = {  # part: colour
    "tokenizer": PROMPT,
    "text encoder": PROMPT,
    "sampler": SIGNAL,
    "UNet": NOISE,
    "VAE decoder": PIXEL,
}
LEFT, ACROSS, TOP, LANE = 1.15, 5.55, 0.45, 0.36  # inches: where time begins, its length, the lanes
PANEL, PANEL_TOP = 1.6, 3.1  # inches: what hangs below the score


def score(calls: Sequence[Call], below: Mapping[str, Image.Image] | Sequence[str]) -> Figure:
    """Who works when: a lane a part, a bar a call, in milliseconds.

    calls: those of `timeline.timeline`. below: pictures by name, {"step 5": picture}, a number in
    the name being the call of the UNet that it is of; or only names, over places that `paused`
    fills. Each UNet bar is in two halves, blue for the prompt and grey for the empty one.
    """
    count = {part: sum(call.part == part for call in calls) for part in LANES}
    total = calls[-1].end
    claim = f"Text once a prompt, pixels once, the UNet {count['UNet']} times"
    spent = {part: sum(c.end - c.start for c in calls if c.part == part) for part in LANES}
    shares = ", ".join(f"{part} {100 * ms / total:.0f} %" for part, ms in spent.items())
    page = new_page(4.8, claim, f"Bars on a time axis, a lane a part. {claim}. {shares}.")
    shapes = {call.part: call.shape for call in calls if call.shape}
    for number, part in enumerate(LANES):
        y = TOP + LANE * number
        say(page, LEFT - 0.1, y + LANE / 2, part, ha="right")
        page.plot([LEFT, LEFT + ACROSS], [y + LANE] * 2, color="#DDDDDD", lw=0.6, zorder=0)
        told = f"{100 * spent[part] / total:5.1f} %  {list(shapes[part]) if part in shapes else ''}"
        say(page, LEFT + ACROSS + 0.12, y + LANE / 2, told, **MONO, ha="left")
    for call in calls:
        _bar(page, call, total)
    key = "UNet: upper half with the prompt, lower half with the empty one"
    say(page, LEFT + 0.05, TOP + LANE * 4.5, key, size=8, color=EMPTY, ha="left")
    axis = TOP + LANE * len(LANES)
    for tick in range(6):
        x = LEFT + ACROSS * tick / 5
        page.plot([x, x], [axis, axis + 0.05], color=EMPTY, lw=0.8)
        say(page, x, axis + 0.15, f"{total * tick / 5:.0f} ms", **MONO, color=EMPTY)
    _hang(page, below, [c.end / total for c in calls if c.part == "UNet"], axis)
    return page.figure


def _bar(page, call: Call, total: float) -> None:
    lane = list(LANES).index(call.part)
    x, width = LEFT + ACROSS * call.start / total, ACROSS * (call.end - call.start) / total
    y, height = TOP + LANE * lane + 0.05, LANE - 0.1
    if call.part != "UNet":
        box(page, x, y, width, height, LANES[call.part], facecolor=LANES[call.part], lw=0.5)
        return
    for part, colour in enumerate((PROMPT, EMPTY)):
        half = height / 2
        box(page, x, y + half * part, width, half, "white", facecolor=colour, lw=0.3)


def _hang(page, below, ends: Sequence[float], axis: float) -> None:
    """Pictures, or the names of empty places, below the lanes; an arrow from a call to its own."""
    gap = (page.figure.get_size_inches()[0] - 0.1 - PANEL * len(below)) / (len(below) - 1)
    for number, name in enumerate(below):
        x = 0.05 + (PANEL + gap) * number
        say(page, x + PANEL / 2, PANEL_TOP - 0.12, name, size=8)
        if not isinstance(below, Mapping):
            continue
        tile(page, x, PANEL_TOP, PANEL, PANEL, below[name])
        if step := "".join(filter(str.isdigit, name)):
            start = LEFT + ACROSS * ends[int(step) - 1]
            arrow(page, start, axis + 0.24, x + PANEL / 2, PANEL_TOP - 0.24)


def paused(drawn: bytes, moment: float, panels: Sequence) -> bytes:
    """A score with a line at a moment and what is alive then below it, as a PNG, in milliseconds.

    drawn: a `score` of names only, as bytes. moment: 0 the beginning, 1 the end. panels: pictures,
    maps [H, W], or latents [4, h, w], which become four maps in a square.
    """
    sheet, side = Image.open(BytesIO(drawn)).convert("RGB"), round(PANEL * DPI)
    x = round((LEFT + ACROSS * moment) * DPI)
    line = [(x, round(TOP * DPI) - 8), (x, round((TOP + LANE * len(LANES)) * DPI))]
    ImageDraw.Draw(sheet).line(line, "black", 3)
    gap = (sheet.width - 10 - side * len(panels)) / (len(panels) - 1)
    for number, panel in enumerate(panels):
        if isinstance(panel, Tensor):
            panel = Image.fromarray(signed_rgb(_square(panel) if panel.dim() == 3 else panel))
        whole = side % panel.width == 0 or panel.width < side
        method = Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS
        place = (round(5 + (side + gap) * number), round(PANEL_TOP * DPI))
        sheet.paste(panel.resize((side, side), method), place)
    buffer = BytesIO()
    few = sheet.quantize(256, Image.Quantize.FASTOCTREE)  # a third of the size, and hardly seen
    few.save(buffer, format="png")
    return buffer.getvalue()


def side_by_side(pictures: Mapping[str, Image.Image], side: int = 256) -> bytes:
    """Pictures in a row, a name above each, as a JPEG, in milliseconds: for sliders."""
    sheet = Image.new("RGB", ((side + 16) * len(pictures) - 16, side + 20), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.truetype(findfont("DejaVu Sans"), 12)
    for number, (name, picture) in enumerate(pictures.items()):
        x, whole = (side + 16) * number, side % picture.width == 0
        pen.text((x + side / 2, 9), name, "black", font, anchor="mm")
        method = Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS
        sheet.paste(picture.resize((side, side), method), (x, 20))
    buffer = BytesIO()
    sheet.save(buffer, format="jpeg", quality=84, subsampling=0)
    return buffer.getvalue()


def _square(latents: Tensor) -> Tensor:
    """Four maps [4, h, w] as one [2h, 2w]."""
    return latents.unflatten(0, (2, 2)).permute(0, 2, 1, 3).flatten(2).flatten(0, 1)


def change_matrix(rows: Mapping[str, Mapping[str, bool]], claim: str) -> Figure:
    """What a change reaches: {what was changed: {tensor: whether it is another one now}}."""
    columns = list(next(iter(rows.values())))
    new = {name: ", ".join(c for c in columns if row[c]) for name, row in rows.items()}
    told = [f"{name}: {found}".replace("\n", " ") for name, found in new.items()]
    page = new_page(0.85 + 0.3 * len(rows), claim, f"{claim}. New are, for {'; for '.join(told)}.")
    width = 6.85 / len(columns)
    for place, column in enumerate(columns):
        say(page, 2.1 + width * (place + 0.5), 0.55, column, size=8, linespacing=1.2)
    for number, (name, row) in enumerate(rows.items()):
        y = 0.75 + 0.3 * number
        say(page, 2.0, y + 0.13, name, ha="right")
        for place, column in enumerate(columns):
            new, x = row[column], 2.1 + width * place
            style = {"facecolor": NOISE if new else "white"}
            box(page, x + 0.03, y, width - 0.06, 0.26, NOISE if new else "#BDBDBD", **style)
            word, colour = ("new", "white") if new else ("kept", EMPTY)
            say(page, x + width / 2, y + 0.13, word, size=8, color=colour)
    return page.figure


def every_tensor(pieces, context: Tensor, levels, noise: Tensor, frames, picture) -> Figure:
    """One run on one page: nine panels, each a tensor with its shape and the page about it.

    levels: alpha_bar at every timestep [T]; frames: all of the run, of which the middle one is
    shown.
    """
    middle, last = frames[len(frames) // 2], frames[-1]
    claim = "Every tensor of one run"
    alt = f"Nine panels: ids, vectors, noise levels, noise, step {middle.step}, result, picture."
    page = new_page(5.7, claim, alt)
    step = f"step {middle.step}, t = {middle.t:g}"
    _words(page, *_panel(page, 0, "page 01 · pieces and ids", "[77]"), pieces)
    x, y = _panel(page, 1, "page 02 · vectors, one a row", list(context.shape))
    tile(page, x, y, 2.7, 1.3, numbers(context), **SIGNED)
    x, y = _panel(page, 2, "page 03 · how much picture is left", list(levels.shape))
    axes = chart(page, x + 0.3, y, 2.4, 1.15, ylim=(0, 1.05))
    axes.plot(numbers(levels), color=SIGNAL)
    visited = [frame.t for frame in frames]
    axes.plot(visited, [levels[int(t)].item() for t in visited], "o", color=NOISE, ms=3)
    axes.tick_params(labelsize=8)
    shape = list(noise.shape)
    four = [("page 03 · the noise it starts from", noise)]
    four += [(f"page 04 · noise-guess, {step}", middle.eps[0])]
    four += [(f"page 05 · clean-guess, {step}", middle.x0[0])]
    four += [("page 05 · latents after that step", middle.x[0]), ("page 05 · the end", last.x[0])]
    for number, (title, latents) in enumerate(four, start=3):
        x, y = _panel(page, number, title, shape)
        for place, channel in enumerate(numbers(latents)):
            tile(page, x + 0.69 * place, y, 0.66, 0.66, channel, **SIGNED)
    x, y = _panel(page, 8, "page 06 · the picture", [3, picture.height, picture.width])
    tile(page, x, y, 1.35, 1.35, picture)
    return page.figure


def _panel(page, number: int, title: str, shape) -> tuple[float, float]:
    """Title and shape of a panel -> where its content begins."""
    x, y = 0.1 + 3.0 * (number % 3), (0.45, 2.4, 3.8)[number // 3]
    page.plot([x, x + 2.75], [y - 0.08] * 2, color=LATENT, lw=1)
    say(page, x, y + 0.06, title, ha="left", size=9)
    say(page, x + 2.75, y + 0.25, str(shape), **MONO, ha="right", color=EMPTY)
    return x, y + 0.38


def _words(page, x: float, y: float, pieces) -> None:
    for number, piece in enumerate(pieces[:10]):
        column, line = divmod(number, 5)
        place = x + 1.4 * column, y + 0.25 * line
        box(page, *place, 1.33, 0.22, PROMPT, lw=0.8)
        say(page, place[0] + 0.06, place[1] + 0.11, piece.text.removesuffix("</w>")[:9],
            **MONO, ha="left")  # fmt: skip
        say(page, place[0] + 1.28, place[1] + 0.11, str(piece.id), **MONO, ha="right", color=EMPTY)
