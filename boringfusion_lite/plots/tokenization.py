"""Words falling into pieces, pieces into the 77 slots: the figures of page 01.

A piece is a box over its letters; a small black square in its corner says that a word ends there.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..bpe import END_OF_WORD, Pair, steps
from ..tokenizer import END, LENGTH, ROOM, START, Piece
from .canvas import EMPTY, MONO, NOISE, PAD, PROMPT, box, new_page, say

ACROSS = 11  # slots in a line of the egg box: 7 x 11 = 77
NEW = {"facecolor": PROMPT + "88", "lw": 1.5}  # a piece that has just been made
ON_WHITE = {"bbox": {"facecolor": "white", "lw": 0, "pad": 1.5}}
CUT_LINES = 5  # lines of boxes for what does not fit


def egg_box(pieces: Sequence[Piece]) -> Figure:
    """A prompt's letters, its pieces, and the 77 slots with their ids, pieces joined to slots.

    Of a long prompt, only the letters and pieces that fit on a line are drawn; the slots are whole.
    """
    kept, cut = min(len(pieces), ROOM), max(len(pieces) - ROOM, 0)
    end = f"{cut} pieces cut off" if cut else f"{ROOM - kept} times padding"
    claim = f"Always {LENGTH} slots: start, {kept} pieces, end, {end}"
    page = new_page(4.2, claim, f"A prompt's letters, its pieces, 7 x 11 slots. {claim}.")
    slots = [("start", START, EMPTY), *((bare(p.text), p.id, PROMPT) for p in pieces[:ROOM])]
    slots += [("end", END, EMPTY)] + [("", END, PAD)] * (ROOM - kept)
    for slot, (text, number, colour) in enumerate(slots):
        x, y = 0.3 + slot % ACROSS * 0.79, 1.52 + slot // ACROSS * 0.37
        style = {EMPTY: {"facecolor": EMPTY + "66"}, PAD: {"hatch": "////"}}.get(colour, {})
        box(page, x, y, 0.75, 0.33, colour, **style)
        say(page, x + 0.375, y + 0.1, text if len(text) <= 10 else text[:9] + "…", **MONO)
        place = y + (0.24 if text else 0.165)
        say(page, x + 0.375, place, str(number), **MONO, color="black" if text else EMPTY)
        if slot % ACROSS == 0:
            say(page, 0.24, y + 0.165, str(slot), size=8, color=EMPTY, ha="right")
    unit, shown = fitting([piece.text for piece in pieces], 8.6, 0.2)
    singles = [[*text[:-1], text[-1] + ended] for text, ended in map(parted, shown)]
    boxes(page, 0.3, 0.42, [letter for part in singles for letter in part], unit, PAD)
    for slot, x in enumerate(boxes(page, 0.3, 0.82, shown, unit), start=1):
        if slot < ACROSS:  # further down, the line would cross other slots
            ends = [x, 0.3 + slot * 0.79 + 0.375], [1.06, 1.52]
            page.plot(*ends, color=PROMPT, lw=0.7, alpha=0.6)
    if len(shown) < len(pieces):
        say(
            page,
            0.3,
            1.25,
            f"... and {len(pieces) - len(shown)} more pieces",
            ha="left",
            size=8,
            **ON_WHITE,
        )
    return page.figure


def egg_boxes(prompts: Mapping[str, Sequence[Piece]]) -> Figure:
    """Up to three prompts, {name: pieces}, as filled slots side by side, the surplus below."""
    told = {
        name: f"{len(p)} pieces, {max(len(p) - ROOM, 0)} cut off" for name, p in prompts.items()
    }
    claim = f"{LENGTH} slots for every prompt: the rest is padded, the surplus is cut off"
    alt = f"Grids of {LENGTH} slots, filled. {'; '.join(map(': '.join, told.items()))}."
    page = new_page(3.6, claim, alt)
    key = "Dark: start and end.  Blue: pieces.  Hatched: padding.  Dashed: cut off, never seen."
    say(page, 0.1, 3.5, key, ha="left", size=8, color=EMPTY)
    for number, (name, pieces) in enumerate(prompts.items()):
        left, kept = 0.1 + 3.05 * number, min(len(pieces), ROOM)
        say(page, left, 0.47, f"{name}: {told[name]}", ha="left")
        colours = [EMPTY, *[PROMPT] * kept, EMPTY, *[PAD] * (ROOM - kept)]
        looks = {EMPTY: {"facecolor": EMPTY}, PROMPT: {"facecolor": PROMPT + "88"}}
        for slot, colour in enumerate(colours):
            x, y = left + slot % ACROSS * 0.25, 0.62 + slot // ACROSS * 0.21
            box(page, x, y, 0.22, 0.18, colour, **looks.get(colour, {"hatch": "////"}))
        surplus = len(pieces) - ROOM
        if surplus > 0:
            page.plot([left, left + 2.75], [2.14, 2.14], color=NOISE, lw=2)
        for slot in range(min(surplus, ACROSS * CUT_LINES)):
            x, y = left + slot % ACROSS * 0.25, 2.2 + slot // ACROSS * 0.21
            box(page, x, y, 0.22, 0.18, NOISE, ls="--")
        if surplus > ACROSS * CUT_LINES:
            more = f"... and {surplus - ACROSS * CUT_LINES} more"
            say(page, left, 3.32, more, ha="left", size=8, color=NOISE)
    return page.figure


def merge_staircase(word: str, ranks: Mapping[Pair, int], applied: int | None = None) -> Figure:
    """One word, from letters down to its pieces: a line for each merge, and when it was learned.

    ranks: as from `bpe.ranked`; applied: draw only so many merges (the size stays the same).
    ValueError for a word of more than 28 bytes.
    """
    states = list(steps(word, ranks))
    count, merges = len(states[0]), len(states) - 1
    if count > 28:
        raise ValueError(f"{word[:20]}... is too long to draw: give a word of up to 28 letters.")
    applied = merges if applied is None else min(applied, merges)
    pieces = states[applied]
    shown = "".join(map(bare, states[0]))  # the word in bytes, which the font can draw
    claim = f"{shown}: after {applied} of {merges} merges, {len(pieces)} of {count} pieces are left"
    unit, pitch = min(0.3, 6.0 / max(count, 1)), min(0.3, 3.7 / len(states))
    page = new_page(4.2, claim, f"Boxes over letters, fusing downwards. {claim}.")
    for number, pieces in enumerate(states[: applied + 1]):
        y, old = 0.4 + number * pitch, spans(states[max(number - 1, 0)])
        fresh = [n for n, span in enumerate(spans(pieces)) if span not in old]
        boxes(page, 0.4, y, pieces, unit, height=min(0.24, pitch - 0.03), fresh=fresh)
        say(page, 0.3, y + pitch / 2 - 0.02, str(number), size=8, color=EMPTY, ha="right")
        if number:
            known = [pair for pair in pairwise(states[number - 1]) if pair in ranks]
            pair = min(known, key=ranks.get)
            note = f"no. {ranks[pair] + 1:,}: {' + '.join(pair)}"
            say(page, 0.6 + unit * count, y + pitch / 2 - 0.02, note, **MONO, ha="left")
    return page.figure


def piece_rows(rows: Mapping[str, Sequence[str]], claim: str) -> Figure:
    """The same words in different pieces, one line each: {name: pieces}."""
    counts = ", ".join(f"{name}: {len(pieces)} pieces" for name, pieces in rows.items())
    page = new_page(0.4 + 0.38 * len(rows), claim, f"{claim}. {counts}.")
    left = 0.2 + 0.075 * max(map(len, rows))
    for number, (name, pieces) in enumerate(rows.items()):
        y = 0.42 + 0.38 * number
        say(page, left - 0.1, y + 0.12, name, ha="right")
        unit, shown = fitting(pieces, 8.3 - left, 0.2)
        boxes(page, left, y, shown, unit)
        say(page, 8.95, y + 0.12, str(len(pieces)), ha="right", weight="bold")
    return page.figure


def piece_bars(words: Mapping[str, Sequence[str]], claim: str) -> Figure:
    """How many pieces each word has, {word: pieces}, the fewest on top; a box holds one piece."""
    counts = ", ".join(f"{word} {len(pieces)}" for word, pieces in words.items())
    page = new_page(0.45 + 0.26 * len(words), claim, f"{claim}. Bars of pieces: {counts}.")
    left = 0.35 + 0.072 * max(map(len, words))
    width = min(0.95, (8.6 - left) / max(map(len, words.values())))
    fits = int(width / 0.075)
    for number, (word, pieces) in enumerate(sorted(words.items(), key=lambda item: len(item[1]))):
        y = 0.38 + 0.26 * number
        say(page, left - 0.1, y + 0.11, word, **MONO, ha="right")
        for place, piece in enumerate(pieces):
            text, ended = parted(piece)
            box(page, left + place * width, y, width, 0.22, PROMPT)
            text = text if len(text) <= fits else text[: fits - 1] + "…"
            say(page, left + (place + 0.5) * width, y + 0.11, text, **MONO)
            if ended:
                corner(page, left + (place + 1) * width, y + 0.22)
        say(page, left + len(pieces) * width + 0.1, y + 0.11, str(len(pieces)), ha="left", size=8)
    return page.figure


# ---- parts -------------------------------------------------------------------------------------


def parted(piece: str) -> tuple[str, str]:
    """A piece's letters, and `</w>` or nothing."""
    return bare(piece), END_OF_WORD if piece.endswith(END_OF_WORD) else ""


def bare(piece: str) -> str:
    """A piece's letters alone."""
    return piece.removesuffix(END_OF_WORD)


def spans(pieces: Sequence[str]) -> list[tuple[int, int]]:
    """Where each piece begins and ends, counted in letters."""
    ends = [0, *accumulate(len(bare(piece)) for piece in pieces)]
    return list(zip(ends, ends[1:]))


def fitting(pieces: Sequence[str], width: float, unit: float) -> tuple[float, list[str]]:
    """Inches a letter, at most `unit`, and as many of the pieces as then fit on the line."""
    sizes = [len(bare(piece)) + 0.6 * piece.endswith(END_OF_WORD) for piece in pieces]
    unit = max(0.09, min(unit, width / max(sum(sizes), 1)))
    fits = sum(end * unit <= width + 0.01 for end in accumulate(sizes))
    return unit, list(pieces[:fits])


def boxes(page, x, y, pieces, unit, colour=PROMPT, height=0.24, fresh=()) -> list[float]:
    """A box a piece, a gap after each word; fresh ones are darker. Returns their middles."""
    middles = []
    for number, piece in enumerate(pieces):
        text, ended = parted(piece)
        width = unit * len(text)
        box(page, x, y, width, height, colour, **(NEW if number in fresh else {}))
        say(page, x + width / 2, y + height / 2, text, **MONO)
        if ended:
            corner(page, x + width, y + height)
        middles.append(x + width / 2)
        x += width + (0.6 * unit if ended else 0)
    return middles


def corner(page, x: float, y: float) -> None:
    """The black square that ends a word, in the lower right corner of its last box."""
    page.add_patch(Rectangle((x - 0.05, y - 0.05), 0.05, 0.05, color="black", lw=0))
