"""Page 08: two models on one scale, a file as a map, the bits of a number, memory per format."""

from collections.abc import Mapping, Sequence
from itertools import accumulate

from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .canvas import EMPTY, LATENT, MONO, NOISE, PAD, PIXEL, PROMPT, SIGNAL, box, new_page, say

PARTS = {"text encoder": PROMPT, "UNet": NOISE, "VAE": PIXEL}  # anything else is grey
WHO = {"ours": PROMPT, "diffusers": PAD}  # as benchmarks/full_size.json calls them

Sizes = Mapping[str, Mapping[str, int]]  # part -> block -> how much it holds


def short(count: float) -> str:
    """A count in three digits: 860 M, 18.3 M, 40.2 k."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.3g}"


def bones(small: Sizes, large: Sizes, names: Sequence[str], claim: str) -> Figure:
    """Two models as columns of blocks, areas by parameters; twins are joined by dashed lines.

    small, large: {part: {block: parameters}}, the same parts in one order; names: of the two. Each
    column fills the height; between them the small one stands again, on the large one's scale.
    """
    totals = [sum(sum(blocks.values()) for blocks in model.values()) for model in (small, large)]
    told = [
        f"{name}: {', '.join(f'{p} {short(sum(b.values()))}' for p, b in model.items())}"
        for name, model in zip(names, (small, large))
    ]
    page = new_page(4.8, claim, f"{claim}. Blocks, areas by parameters. {'; '.join(told)}.")
    top, height, width = 0.75, 3.85, 2.2
    edges = []
    for name, model, total, x, side in zip(names, (small, large), totals, (1.3, 5.5), (-1, 1)):
        say(page, x + width / 2, 0.52, f"{name}: {short(total)} parameters")
        edges.append(_column(page, model, x, top, width, height))
        for part, (y, part_height) in edges[-1].items():
            place = x - 0.08 if side < 0 else x + width + 0.08
            text = f"{part}\n{short(sum(model[part].values()))}"
            say(page, place, y + part_height / 2, text, ha="right" if side < 0 else "left")
    for part, (y, _) in edges[0].items():
        page.plot([3.5, 5.5], [y, edges[1][part][0]], "--", color=EMPTY, lw=0.8)
    page.plot([3.5, 5.5], [top + height] * 2, "--", color=EMPTY, lw=0.8)
    shrink = (totals[0] / totals[1]) ** 0.5
    y = top + height * (1 - shrink) - 0.1
    _column(page, small, 4.5 - width * shrink / 2, y, width * shrink, height * shrink)
    say(page, 4.5, y - 0.18, f"{names[0]}\non the scale of the right", size=8, va="bottom")
    return page.figure


def _column(page, model: Sizes, x: float, y: float, width: float, height: float) -> dict:
    """One model: a band a part, in it a slice a block -> top and height of every band."""
    total, bands = sum(sum(blocks.values()) for blocks in model.values()), {}
    for part, blocks in model.items():
        whole = sum(blocks.values())
        bands[part] = y, height * whole / total
        slices = [width * count / whole for count in blocks.values()]
        _tiles(page, [
            (x + left - own, y, own, bands[part][1])
            for own, left in zip(slices, accumulate(slices))
        ], PARTS.get(part, PAD))  # fmt: skip
        y += bands[part][1]
    return bands


def _tiles(page, places: Sequence[tuple[float, float, float, float]], colour: str) -> None:
    """Many rectangles (x, y, width, height) of one colour, drawn in one go."""
    patches = [Rectangle((x, y), width, height) for x, y, width, height in places]
    style = {"facecolor": colour + "99", "edgecolor": "white", "linewidth": 0.4}
    page.add_collection(PatchCollection(patches, **style))


def key_map(sizes: Mapping[str, Mapping[str, Mapping[str, int]]], claim: str) -> Figure:
    """A file of weights as a map: a column a part, in it a row a block, in that a cell a key.

    sizes: {part: {block: {key: bytes}}}. Areas are bytes.
    """
    parts = {name: sum(sum(b.values()) for b in blocks.values()) for name, blocks in sizes.items()}
    total = sum(parts.values())
    shares = ", ".join(f"{name} {100 * size / total:.0f} %" for name, size in parts.items())
    page = new_page(4.8, claim, f"{claim}. A map, areas by bytes: {shares}.")
    x, top, height = 0.1, 0.75, 3.95
    for name, blocks in sizes.items():
        colour, width = PARTS.get(name, PAD), 8.8 * parts[name] / total
        keys, y = sum(map(len, blocks.values())), top
        told = f"{keys} keys, {short(parts[name])}B" if width > 1.6 else f"{keys} keys"
        place, side = (8.9, "right") if x > 8.4 else (x, "left")  # at the edge words turn round
        say(page, place, 0.43, name, ha=side)
        say(page, place, 0.61, told, ha=side, size=8, color=EMPTY)
        for block, cells in blocks.items():
            own, left = height * sum(cells.values()) / parts[name], x
            places = []
            for size in cells.values():
                places.append((left, y, width * size / sum(cells.values()), own))
                left += places[-1][2]
            _tiles(page, places, colour)
            if own > 0.16 and width > 0.075 * len(block):
                say(page, x + 0.06, y + own / 2, block, **MONO, ha="left")
            y += own
        x += width
    return page.figure


def step_card(sizes: Sequence[int], lit: int, rows: Sequence[tuple], claim: str) -> Figure:
    """One step of a UNet among all: its size lit in a row of bars, and what it holds as a table.

    sizes: parameters of each step; rows: (our name, the file's, shape, numbers), the first row
    being the heads.
    """
    page = new_page(5.4, claim, f"{claim}. Bars: parameters of {len(sizes)} steps; below, a table.")
    width, base = 8.8 / len(sizes), 1.25
    for number, size in enumerate(sizes):
        own = 0.8 * size / max(sizes)
        style = {"facecolor": NOISE if number == lit else NOISE + "33"}
        box(page, 0.1 + width * number, base - own, width - 0.04, own, NOISE, lw=0.5, **style)
    say(page, 0.1 + width * (lit + 0.5) - 0.02, base + 0.12, short(sizes[lit]), size=8)
    for number, row in enumerate(rows):
        y, colour = 1.62 + 0.16 * number, "black" if number else EMPTY
        for x, text in zip((0.1, 3.1, 6.2, 8.9), row):
            say(page, x, y, text, **MONO, ha="right" if x > 8 else "left", color=colour)
    return page.figure


def number_bits(kinds: Mapping[str, tuple[int, int]], facts: Sequence[str], claim: str) -> Figure:
    """Number formats bit by bit: {name: (bits of the exponent, bits of the fraction)}.

    facts: a line beside each.
    """
    page = new_page(0.75 + 0.55 * len(kinds), claim, f"{claim}. {'; '.join(facts)}.")
    for number, ((name, (exponent, fraction)), fact) in enumerate(zip(kinds.items(), facts)):
        y = 0.62 + 0.55 * number
        say(page, 0.05, y + 0.1, name, ha="left")
        colours = [PAD] + [SIGNAL] * exponent + [LATENT] * fraction
        for bit, colour in enumerate(colours):
            box(page, 0.85 + 0.125 * bit, y, 0.115, 0.2, "#333333", facecolor=colour, lw=0.4)
        say(page, 5.0, y + 0.1, fact, **MONO, ha="left")
    for x, colour, what in ((0.85, PAD, "sign"), (1.4, SIGNAL, "size"), (1.95, LATENT, "digits")):
        box(page, x, 0.38, 0.11, 0.11, "#333333", facecolor=colour, lw=0.4)
        say(page, x + 0.16, 0.44, what, size=8, ha="left")
    return page.figure


def peaks(formats: Mapping[str, Mapping], claim: str) -> Figure:
    """How much memory opening takes in two programs, as multiples of the file, which is the line.

    formats: {format: {"file": bytes, "ours": {"seconds": s, "peak": bytes}, "diffusers": ...}}, as
    in benchmarks/full_size.json.
    """
    height, told = 0.7 + 0.52 * len(formats), []
    page = new_page(height, claim, "")
    most = max(row[who]["peak"] / row["file"] for row in formats.values() for who in WHO)
    inch = 3.7 / max(most, 1.0)
    for number, (name, row) in enumerate(formats.items()):
        y = 0.5 + 0.52 * number
        say(page, 2.6, y + 0.2, f"{name}, {row['file'] / 1e9:.2f} GB", ha="right")
        for line, (who, colour) in enumerate(WHO.items()):
            share, seconds = row[who]["peak"] / row["file"], row[who]["seconds"]
            text = f"{who}: {share:.2f} x the file, {seconds:.1f} s"
            box(page, 2.7, y + 0.2 * line, inch * share, 0.18, colour, facecolor=colour + "99")
            say(page, 2.76 + inch * share, y + 0.2 * line + 0.1, text, ha="left", size=8)
            told.append(f"{name}, {text}")
    page.plot([2.7 + inch] * 2, [0.4, height - 0.12], "--", color=EMPTY, lw=1)
    say(page, 2.7 + inch, 0.34, "the file", size=8, color=EMPTY)
    page.figure.set_label(f"{claim}. Bars: {'; '.join(told)}.")
    return page.figure
