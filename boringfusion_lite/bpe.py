"""Byte-pair encoding, written to be read: learn merges from a text, and apply CLIP's by hand.

    >>> bpe.train("snow snowman snowball", 3)
    [('s', 'n'), ('sn', 'o'), ('sno', 'w')]
    >>> ranks = bpe.ranked(bpe.read_merges())              # CLIP's 48,894
    >>> bpe.split("photorealistic", ranks)
    ['photo', 'realistic</w>']

A text is cut into words, a word into letters, and then the pair of neighbours that was learned
first becomes one piece, again and again. Sennrich et al. 2016 brought this old way of packing data
into language models; that the letters are bytes, so that every text has pieces, is from GPT-2.

Notebook 01 builds it. The models use `tokenizer.py`, whose Rust code does the same, faster, and
which knows the two special tokens. Left out, as there: repairing broken Unicode and HTML.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from unicodedata import category, normalize

from .runtime import bundled_folder

END_OF_WORD = "</w>"
SPECIAL = ("<|startoftext|>", "<|endoftext|>")
ENDINGS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")  # words of their own: it's = it + 's
SEPARATORS = "\x1c\x1d\x1e\x1f"  # white space for Python, but not for Unicode and not for CLIP

Pair = tuple[str, str]


def byte_alphabet() -> dict[int, str]:
    """A visible character for each of the 256 bytes, in the order of CLIP's ids 0 .. 255.

    Printable bytes stand for themselves and come first; the others (space, controls, halves of a
    Chinese letter) borrow the characters from U+0100 on. GPT-2's table, taken over by CLIP.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    printable += range(ord("®"), ord("ÿ") + 1)
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {b: chr(256 + n) for n, b in enumerate(others)}


ALPHABET = byte_alphabet()


# ---- before any merge --------------------------------------------------------------------------


def words(text: str) -> list[str]:
    """A text as CLIP cuts it, lower-cased: runs of letters, single digits, runs of other signs.

    White space only separates, and is gone afterwards. TypeError for anything but a string.
    """
    if not isinstance(text, str):
        raise TypeError(f"A text is a string, not {type(text).__name__}: {text!r:.80}.")
    text = "".join(sign.lower() for sign in normalize("NFC", text))
    found, at = [], 0
    while at < len(text):
        kind, end = kind_of(text[at]), at + 1
        if ending := next((e for e in ENDINGS if text.startswith(e, at)), ""):
            end = at + len(ending)
        elif kind != "digit":
            while end < len(text) and kind_of(text[end]) == kind:
                end += 1
        if kind != "space":
            found.append(text[at:end])
        at = end
    return found


def kind_of(sign: str) -> str:
    """What a character is for CLIP: "letter", "digit", "space" or any other "sign"."""
    if sign.isalpha():
        return "letter"
    if sign.isspace() and sign not in SEPARATORS:
        return "space"
    return "digit" if category(sign).startswith("N") else "sign"


def letters(word: str) -> list[str]:
    """A word as pieces of one byte each, the last one marked: "cat" -> ["c", "a", "t</w>"]."""
    signs = [ALPHABET[byte] for byte in word.encode("utf-8", "replace")]
    return [*signs[:-1], signs[-1] + END_OF_WORD] if signs else []


# ---- learning merges ---------------------------------------------------------------------------


def count_pairs(counted: Iterable[tuple[Sequence[str], int]]) -> Counter[Pair]:
    """How often each pair of neighbours occurs, from (pieces of a word, how often it is there)."""
    pairs = Counter()
    for pieces, times in counted:
        for pair in pairwise(pieces):
            pairs[pair] += times
    return pairs


def train(text: str, merges: int) -> list[Pair]:
    """Learn merges from a text: the most frequent pair becomes one piece, `merges` times over.

    Of pairs that are equally frequent, the one met first in the text. Ends early where every word
    has become one piece. ValueError for a number below 0.
    """
    if merges < 0:
        raise ValueError(f"The number of merges is 0 or more, not {merges}.")
    counts = Counter(words(text))
    pieces, learned = {word: letters(word) for word in counts}, []
    while len(learned) < merges:
        pairs = count_pairs((pieces[word], times) for word, times in counts.items())
        if not pairs:
            break
        learned.append(max(pairs, key=pairs.get))
        pieces = {word: fuse(parts, learned[-1]) for word, parts in pieces.items()}
    return learned


# ---- applying them -----------------------------------------------------------------------------


def fuse(pieces: Sequence[str], pair: Pair) -> list[str]:
    """The pieces with each occurrence of the pair made one, from left to right."""
    fused, at = [], 0
    while at < len(pieces):
        both = tuple(pieces[at : at + 2]) == pair
        fused.append(pieces[at] + pieces[at + 1] if both else pieces[at])
        at += 2 if both else 1
    return fused


def ranked(merges: Iterable[Pair]) -> dict[Pair, int]:
    """{pair: its place in the list of merges}; the pair with the lowest rank goes first."""
    return {pair: rank for rank, pair in enumerate(merges)}


def steps(word: str, ranks: dict[Pair, int]) -> Iterator[list[str]]:
    """The pieces of one word, first as letters and then after each merge, until none applies."""
    pieces = letters(word)
    yield pieces
    while known := [pair for pair in pairwise(pieces) if pair in ranks]:
        pieces = fuse(pieces, min(known, key=ranks.get))
        yield pieces


def split(word: str, ranks: dict[Pair, int]) -> list[str]:
    """The pieces of one word (as `words` gives it) when all merges are done."""
    *_, pieces = steps(word, ranks)
    return pieces


def encode(text: str, ranks: dict[Pair, int], ids: dict[str, int]) -> list[int]:
    """The ids of a text, uncut, without start, end and padding; ids as `vocabulary` gives them.

    With CLIP's merges, equal to `Tokenizer.pieces`, but that special tokens written out in the text
    are cut like any other word.
    """
    return [ids[piece] for word in words(text) for piece in split(word, ranks)]


# ---- CLIP's own --------------------------------------------------------------------------------


def read_merges(folder: str | Path | None = None) -> list[Pair]:
    """The pairs in `merges.txt` of a model's `tokenizer` folder, first learned first.

    Without a folder, the bundled ones: all 48,894 that CLIP uses. FileNotFoundError where there is
    no such file, ValueError for a line that is not a pair.
    """
    folder = Path(folder) if folder is not None else bundled_folder() / "tokenizer"
    path = folder / "merges.txt"
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no merges.txt in {folder}. Give the `tokenizer` folder of an SD 1.x model, "
            "or no folder for the bundled list."
        )
    lines = path.read_text("utf-8").split("\n")
    pairs = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    if wrong := [pair for pair in pairs if len(pair) != 2]:
        raise ValueError(
            f"{path} is no list of merges: {' '.join(wrong[0])!r:.60} is not a pair. It is "
            "probably damaged: copy it again."
        )
    return pairs


def vocabulary(merges: Iterable[Pair]) -> dict[str, int]:
    """Piece -> id: 256 bytes, the same at the end of a word, one piece a merge, start and end."""
    signs = [*ALPHABET.values()]
    pieces = [*signs, *(sign + END_OF_WORD for sign in signs), *map("".join, merges), *SPECIAL]
    return {piece: number for number, piece in enumerate(pieces)}
