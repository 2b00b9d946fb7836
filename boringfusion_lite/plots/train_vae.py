"""Figures of page 10: the two ends of the KL weight, what noise breaks, why squares blur."""

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from .canvas import (
    EMPTY,
    GUIDANCE,
    MONO,
    NOISE,
    PROMPT,
    SIGNAL,
    WIDTH,
    box,
    chart,
    new_page,
    say,
    tile,
)

LINES = [(PROMPT, "-"), (NOISE, "--"), (SIGNAL, "-."), (GUIDANCE, ":"), (EMPTY, (0, (6, 2, 1, 2)))]
FLOOR = 1e-3  # what a logarithmic bar begins at


def from_sheet(sheet: str) -> list[Image.Image]:
    """The square pictures that a JPEG in base64 holds side by side."""
    whole = Image.open(BytesIO(base64.b64decode(sheet))).convert("RGB")
    side = whole.height
    return [whole.crop((x, 0, x + side, side)) for x in range(0, whole.width, side)]


def tug_of_war(result: Mapping, chosen: str, claim: str) -> Figure:
    """What VAEs of different KL weights copy and draw, over their two errors on one log axis.

    result: vae_kl.json as it was read. chosen: the weight that gets the star.
    """
    vaes = result["vaes"]
    told = "; ".join(f"{w}: {v['psnr']:.1f} dB, KL {v['kl']:.3g}" for w, v in vaes.items())
    page = new_page(5.1, claim, f"{claim}. Copies, draws, bars by KL weight: {told}.")
    size, left, pitch = 1.0, 1.95, 1.42
    for line, picture in enumerate(from_sheet(result["drawings"])[:2]):
        tile(page, 0.4, 0.62 + 1.03 * line, size, size, picture)
        say(page, left - 0.06, 1.12 + 1.03 * line, "copy", ha="right", size=8)
    say(page, 0.9, 0.5, "drawing", **MONO)
    say(page, left - 0.06, 3.18, "decoded from N(0, 1)", ha="right")
    for number, (weight, vae) in enumerate(vaes.items()):
        x, star = left + pitch * number, " ★" * (weight == chosen)
        say(page, x + size / 2, 0.5, f"weight {weight}{star}", **MONO)
        for line, picture in enumerate(
            [*from_sheet(vae["copies"])[:2], from_sheet(vae["draws"])[0]]
        ):
            tile(page, x, 0.62 + 1.03 * line, size, size, picture)
        _bars(page, x, 3.6, {SIGNAL: rmse(vae["psnr"]), NOISE: vae["kl"]})
    say(page, 0.05, 4.05, "green: error of\na copy, of 2", ha="left")
    say(page, 0.05, 4.55, "orange: KL,\nnats a number", ha="left")
    return page.figure


def rmse(psnr: float) -> float:
    """The root of the mean squared error of a PSNR, on the scale from -1 to 1."""
    return 2 * 10 ** (-psnr / 20)


def _bars(page, x: float, y: float, values: Mapping[str, float]) -> None:
    """Two bars on a log axis from 0.001 to 100, their numbers above them."""
    for number, (colour, value) in enumerate(values.items()):
        share = np.log10(max(value, FLOOR) / FLOOR) / 5
        tall = max(0.02, 1.15 * min(1, share))
        left = x + 0.03 + 0.5 * number
        box(page, left, y + 1.3 - tall, 0.42, tall, "#333333", facecolor=colour)
        say(page, left + 0.21, y + 1.2 - tall, f"{value:.2g}", **MONO)


def forgiveness(result: Mapping, claim: str) -> Figure:
    """PSNR of what noisy latents decode to, a line for each KL weight."""
    lines = {f"weight {w}": vae["noisy"] for w, vae in result["vaes"].items()}
    ends = "; ".join(f"{name} from {line[0]:.1f} to {line[-1]:.1f}" for name, line in lines.items())
    page = new_page(3.2, claim, f"{claim}. PSNR over the noise on the latents: {ends} dB.")
    labels = {"xlabel": "noise on the latents, in units of their spread", "ylabel": "PSNR, dB"}
    axes = chart(page, 0.7, 0.45, 6.6, 2.2, **labels)
    for (name, line), (colour, dash) in zip(lines.items(), LINES):
        axes.plot(result["noise"], line, color=colour, ls=dash, marker="o", ms=3, label=name)
    axes.legend(frameon=False, handlelength=3.4, loc="upper left", bbox_to_anchor=(1.01, 1))
    return page.figure


def expected_losses(answers: Sequence, losses: Mapping[str, Sequence], claim: str) -> Figure:
    """Expected losses of every answer to a question with two right ones; the least is marked."""
    page = new_page(2.4, claim, f"{claim}. Expected loss over the answer, -1 black to 1 white.")
    labels = {"xlabel": "the answer: -1 black, 0 grey, 1 white", "ylabel": "expected loss"}
    axes = chart(page, 0.7, 0.45, 6.6, 1.4, **labels)
    for (name, values), (colour, dash) in zip(losses.items(), LINES):
        axes.plot(answers, values, color=colour, ls=dash, lw=1.6, label=name)
    axes.legend(frameon=False, handlelength=3.4, loc="upper left", bbox_to_anchor=(1.01, 1))
    return page.figure


def decoders(result: Mapping, claim: str) -> Figure:
    """Copies by decoders of the same latents that learned from different losses.

    result: vae_sharp.json as it was read. Below each its PSNR, its sharpness (the drawings have
    1) and its feature distance.
    """
    found = result["decoders"]
    told = "; ".join(f"{n} {d['psnr']:.1f} dB, {d['sharpness']:.2f}" for n, d in found.items())
    page = new_page(3.85, claim, f"{claim}. Copies, PSNR and sharpness: {told}.")
    columns = {"drawing": result["drawings"], **{n: d["copies"] for n, d in found.items()}}
    left, pitch = 0.95, (WIDTH - 1.0) / len(columns)
    size = min(1.2, pitch - 0.06)
    for number, (name, sheet) in enumerate(columns.items()):
        x = left + pitch * number
        say(page, x + size / 2, 0.5, name, **MONO)
        for line, picture in enumerate(from_sheet(sheet)[:2]):
            tile(page, x, 0.62 + (size + 0.03) * line, size, size, picture)
        values = found.get(name, {"sharpness": 1.0})
        for line, (key, form) in enumerate(VALUES.items()):
            value = format(values[key], form) if key in values else ""
            say(page, x + size / 2, 0.82 + 2 * size + 0.2 * line, value, **MONO)
    for line, label in enumerate(("PSNR, dB", "sharpness", "features")):
        say(page, left - 0.08, 0.82 + 2 * size + 0.2 * line, label, ha="right", size=8)
    return page.figure


VALUES = {"psnr": ".1f", "sharpness": ".2f", "features": ".3f"}
