"""Figures about noise levels: the crossover, schedules side by side, histograms, spacings."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from io import BytesIO

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from torch import Tensor

from .canvas import (
    DPI,
    EMPTY,
    NOISE,
    SIGNAL,
    WIDTH,
    chart,
    new_page,
    numbers,
    row,
    say,
    strip,
    tile,
)

FLOOR = 5.0  # log-SNRs are shown from -FLOOR to FLOOR
EDGES = np.linspace(-3.5, 3.5, 61)  # of the bars of histograms
SOLID = {"color": NOISE, "lw": 2}
REST = [{"color": EMPTY, "lw": 1.2, "ls": s} for s in ("--", ":", "-.", (0, (6, 2, 1, 2, 1, 2)))]
Panels = Mapping[str, Mapping[str, Tensor]]  # {title: {name: values}}
SIDE, DIAL = 256, (3.6, 2.56)  # pixels; inches of the small chart beside the pictures


def weights(alpha_bar: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """alpha_bar [T] -> what signal and noise are multiplied by, each [T]."""
    return numbers(alpha_bar) ** 0.5, (1 - numbers(alpha_bar)) ** 0.5


def crossing(alpha_bar: Tensor) -> int:
    """The timestep at which signal and noise are nearest to even."""
    return int(abs(numbers(alpha_bar) - 0.5).argmin())


def crossover(pictures: Mapping[int, Image.Image], alpha_bar: Tensor, claim: str = "") -> Figure:
    """Noisy pictures {t: picture}, each above its t; under them the weights of signal and noise."""
    signal, noise = weights(alpha_bar)
    last, even = len(signal) - 1, crossing(alpha_bar)
    claim = claim or f"From t = {even} on, noise outweighs the picture"
    alt = f"Pictures from clean to noise over two lines against t. They cross at t = {even}."
    page = new_page(4.2, claim, alt)
    left, wide = 0.65, WIDTH - 1.2
    size = min(0.96, wide / max(1, len(pictures) - 1) - 0.02)
    for t, picture in pictures.items():
        x = left + wide * t / last
        tile(page, x - size / 2, 0.55, size, size, picture)
        say(page, x, 0.45, f"t={t}", family="monospace", size=8)
        page.plot([x, x], [0.55 + size, 0.66 + size], color=EMPTY, lw=0.8)
    axes = chart(page, left, 0.66 + size, wide, 3.05 - size, xlim=(0, last), ylim=(0, 1.02))
    axes.set(xlabel="timestep t", ylabel="multiplied by")
    axes.axvspan(even, last, color=NOISE, alpha=0.06, lw=0)
    axes.plot(signal, color=SIGNAL, lw=2)
    axes.plot(noise, color=NOISE, lw=2, ls="--")
    axes.axvline(even, color="black", lw=1, ls=":")
    axes.text(even + 8, 0.06, f"even at t = {even}")
    for t, height, name, colour in ((0.8, signal, "signal", SIGNAL), (0.8, noise, "noise", NOISE)):
        at = int(t * last)
        axes.text(at, height[at] - 0.09, name, color=colour, weight="bold", ha="right")
    told = f"t = 0: {noise[0]:.1%} noise already", f"t = {last}: {signal[-1]:.1%} signal still"
    say(page, left, 4.1, told[0], color=NOISE, ha="left")
    say(page, left + wide, 4.1, told[1], color=SIGNAL, ha="right")
    return page.figure


def dissolving(rows: Mapping[str, tuple], labels: Sequence[str], claim: str) -> Figure:
    """Rows of ever noisier pictures, {name: (pictures, alpha_bar)}, each with its two weights."""
    alt = f"{claim}. Rows {', '.join(rows)}; columns {', '.join(labels)}."
    size, left = min(0.78, 6.2 / len(labels)), 0.95
    page = new_page(0.6 + (size + 0.05) * len(rows), claim, alt)
    for number, (name, (pictures, alpha_bar)) in enumerate(rows.items()):
        y, x = 0.55 + (size + 0.05) * number, left + (size + 0.02) * len(labels) + 0.15
        signal, noise = weights(alpha_bar)
        say(page, left - 0.1, y + size / 2, name.replace(" ", "\n"), ha="right")
        row(page, left, y, size, pictures, labels if number == 0 else ())
        axes = chart(page, x, y + 0.04, 0.95, size - 0.1, xticks=[], yticks=[], ylim=(0, 1.05))
        axes.plot(signal, color=SIGNAL, lw=1.5)
        axes.plot(noise, color=NOISE, lw=1.5, ls="--")
        axes.axvline(crossing(alpha_bar), color="black", lw=1, ls=":")
        told = f"even at {crossing(alpha_bar)}\nends at {signal[-1]:.2g}"
        say(page, x + 1.05, y + size / 2, told, ha="left", size=8)
    return page.figure


def log_snr(schedules: Mapping[str, Tensor], claim: str) -> Figure:
    """log10 of the signal-to-noise ratio of {name: alpha_bar [T]}, the first in colour."""
    evens = {name: crossing(alpha_bar) for name, alpha_bar in schedules.items()}
    told = ", ".join(f"{name} at {even}" for name, even in evens.items())
    page = new_page(3.2, claim, f"{claim}. Falling lines of log SNR; each is 0 at t: {told}.")
    axes = chart(page, 0.65, 0.4, 4.9, 2.3, xlabel="timestep t", ylabel="log10 SNR")
    for (name, alpha_bar), style in zip(schedules.items(), [SOLID, *REST]):
        a = numbers(alpha_bar).astype(float)
        with np.errstate(divide="ignore"):
            height = np.log10(a / (1 - a))
        label = f"{name}: even at t = {evens[name]}"
        axes.plot(height, **style, label=label, zorder=3 if style is SOLID else 2)
        axes.plot(evens[name], 0, "o", color=style["color"], ms=5, zorder=4)
    axes.axhline(0, color="black", lw=1, ls=":")
    axes.text(len(a), 0.12, "even", ha="right")
    axes.set(xlim=(0, len(a) - 1), ylim=(-FLOOR, FLOOR))
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, handlelength=3.2)
    return page.figure


def lines(
    panels: Mapping[str, Mapping[str, Tensor]], claim: str, log: Sequence[str] = ()
) -> Figure:
    """Line charts over t side by side, {what: {name: values [T]}}; those in `log` on a log axis."""
    page = new_page(3.2, claim, f"{claim}. Line charts over the timestep: {', '.join(panels)}.")
    wide = (WIDTH - 0.65) / len(panels) - 0.5
    for number, (what, curves) in enumerate(panels.items()):
        axes = chart(page, 0.65 + (wide + 0.55) * number, 0.62, wide, 2.0, xlabel="timestep t")
        axes.set_title(what, fontsize=9, loc="left")
        axes.set_yscale("log" if what in log else "linear")
        for (name, values), style in zip(curves.items(), [SOLID, *REST]):
            axes.plot(numbers(values), **style, label=name)
        if number == 0 and len(curves) > 1:
            axes.legend(frameon=False, handlelength=3.2)
    return page.figure


def histograms(panels: Panels, claim: str) -> Figure:
    """Histograms side by side, {title: {name: values}}, over the bell curve N(0, 1) (dotted)."""
    told = "; ".join(
        f"{title} "
        + ", ".join(f"{n}: mean {v.mean():.2f}, std {v.std():.2f}" for n, v in p.items())
        for title, p in panels.items()
    )
    page = new_page(2.4, claim, f"{claim}. Histograms: {told}.")
    wide = (WIDTH - 0.4) / len(panels) - 0.15
    bell = np.exp(-(EDGES**2) / 2) / math.sqrt(2 * math.pi)
    for number, (title, shown) in enumerate(panels.items()):
        axes = chart(page, 0.3 + (wide + 0.15) * number, 0.62, wide, 1.4, xlim=EDGES[[0, -1]])
        axes.set(yticks=[], ylim=(0, 1.05))
        axes.set_title(title, fontsize=9, loc="left")
        axes.plot(EDGES, bell, color="black", ls=":", lw=1.2)
        for (name, values), (colour, dash) in zip(shown.items(), ((SIGNAL, "-"), (NOISE, "--"))):
            density, _ = np.histogram(numbers(values), bins=EDGES, density=True)
            axes.stairs(density.clip(max=2), EDGES, color=colour, ls=dash, lw=1.5, label=name)
        if number == 0 and len(shown) > 1:
            axes.legend(frameon=False, fontsize=8, loc="upper left", handlelength=2.4)
    return page.figure


def spacings(tables: Mapping[str, Tensor], claim: str) -> Figure:
    """The noise levels that samplers visit, {name: sigmas}: a row of dots on an axis of sigma."""
    told = "; ".join(f"{name} {', '.join(f'{s:.2g}' for s in v)}" for name, v in tables.items())
    page = new_page(0.95 + 0.42 * len(tables), claim, f"{claim}. Sigmas of {told}.")
    axes = chart(page, 1.6, 0.4, WIDTH - 1.8, 0.42 * len(tables), xlabel="sigma, noisiest first")
    for level, sigmas in enumerate(tables.values()):
        style = SOLID | {"lw": 1} if level == len(tables) - 1 else {"color": EMPTY, "lw": 1}
        axes.plot(numbers(sigmas), [level] * len(sigmas), "o-", ms=5, **style)
    axes.set(xscale="log", yticks=range(len(tables)), yticklabels=tables)
    axes.set_ylim(len(tables) - 0.5, -0.5)
    axes.invert_xaxis()
    return page.figure


@lru_cache(maxsize=4)
def _dial(alpha_bar: tuple[float, ...]) -> Image.Image:
    """The weights of signal and noise as a small chart without a cursor."""
    a = np.array(alpha_bar)
    figure = Figure(figsize=DIAL, dpi=DPI, facecolor="white")
    axes = figure.add_axes((0.13, 0.19, 0.84, 0.76), xlim=(0, len(a) - 1), ylim=(0, 1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xlabel="timestep t", ylabel="multiplied by")
    axes.plot(a**0.5, color=SIGNAL, lw=2, label="signal")
    axes.plot((1 - a) ** 0.5, color=NOISE, lw=2, ls="--", label="noise")
    axes.legend(frameon=False, loc="center right", fontsize=8)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")


def noise_dial(pictures: Sequence, alpha_bar: Tensor, t: int) -> bytes:
    """Pictures (or maps [H, W]) side by side, and where t is on the curves of the weights: a JPEG.

    Without matplotlib from the second call on, and so fast enough for a handle that is dragged.
    """
    dial = _dial(tuple(alpha_bar.tolist())).copy()
    across, down = dial.size
    x = across * (0.13 + 0.84 * t / (len(alpha_bar) - 1))
    pen = ImageDraw.Draw(dial)
    pen.line((x, 0.05 * down, x, 0.81 * down), fill="black")
    for share, colour in ((alpha_bar[t], SIGNAL), (1 - alpha_bar[t], NOISE)):
        y = down * (0.81 - 0.76 * float(share) ** 0.5)
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=colour, outline="black")
    shown = Image.open(BytesIO(strip(pictures, side=SIDE)))
    sheet = Image.new("RGB", (shown.width + 16 + across, max(SIDE, down)), "white")
    sheet.paste(shown, (0, 0))
    sheet.paste(dial, (shown.width + 16, 0))
    buffer = BytesIO()
    sheet.save(buffer, format="jpeg", quality=75)  # noise makes a large PNG
    return buffer.getvalue()
