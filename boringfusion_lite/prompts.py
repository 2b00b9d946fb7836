"""What may be done to a prompt's vectors: scale, emphasise in three ways, mix, negate, move.

    context = emphasise(sd, "a (red:1.4) house [at night]")              # plain scaling
    context = emphasise(sd, "a (red:1.4) house", "interpolated")
    picture = sd(context, seed=0)               # a context may stand wherever a prompt may

Everything here works on the context [B, 77, D] that the UNet is given, which is the text encoder's
output after the final layer norm. Nothing is edited in place, and weight 1 changes not one bit.
Notebook 02 measures what the pictures make of it, and where each way breaks.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .tokenizer import LENGTH, ROOM, Tokenizer

STRESS = 1.1  # what a pair of brackets without a number is worth
MARK = re.compile(r"\\[()\[\]\\]|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|.", re.DOTALL)


# ---- words and their slots ----------------------------------------------------------------------


def slots_of(tokenizer: Tokenizer, prompt: str, words: str) -> list[int]:
    """The slots (1 to 75) of every occurrence of `words` in the prompt, whatever their case.

    ValueError where the words are not in the prompt, or only in the tail that is cut off.
    """
    pattern = rf"(?<!\w){re.escape(words.strip())}(?!\w)"
    found = [match.span() for match in re.finditer(pattern, prompt, re.IGNORECASE)]
    if not words.strip() or not found:
        known = ", ".join(dict.fromkeys(word for word, _ in tokenizer.words(prompt)))
        raise ValueError(f"{words!r} is not in the prompt. Its words are: {known or 'none'}.")
    slots = [
        slot
        for slot, (begin, end) in enumerate(tokenizer.spans(prompt)[:ROOM], start=1)
        if any(begin < last and first < end for first, last in found)
    ]
    if not slots:
        raise ValueError(f"{words!r} comes after the {ROOM} tokens that the model sees.")
    return slots


# ---- the syntax: (word:1.3), (word), [word] -----------------------------------------------------


class Passage(NamedTuple):
    """A piece of the prompt with one weight; 1 where nothing was said."""

    text: str
    weight: float


def parse(prompt: str) -> list[Passage]:
    r"""Take the emphasis out of a prompt: passages whose texts, joined, are what is encoded.

    >>> parse("a (red:1.3) house [at night]")
    [('a ', 1.0), ('red', 1.3), (' house ', 1.0), ('at night', 0.909...)]       # as Passages

    (word) is weight 1.1, [word] is 1/1.1, (word:1.3) says it itself; nested weights multiply, and
    `\(` `\)` `\[` `\]` `\\` are the signs themselves. A bracket that is never closed reaches to the
    end; one that was never opened is text. This is the syntax of AUTOMATIC1111's web UI. ValueError
    for a weight too large for a number.
    """
    letters: list[str] = []
    weights: list[float] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def close(bracket: str, factor: float) -> None:
        for place in range(opened[bracket].pop(), len(letters)):
            weights[place] *= factor

    for match in MARK.finditer(prompt):
        sign, number = match[0], match[1]
        if sign in opened:
            opened[sign].append(len(letters))
        elif number and opened["("]:
            close("(", float(number))
        elif sign == ")" and opened["("]:
            close("(", STRESS)
        elif sign == "]" and opened["["]:
            close("[", 1 / STRESS)
        else:
            text = sign.removeprefix("\\") if len(sign) == 2 and not number else sign
            letters += text
            weights += [1.0] * len(text)
    while opened["("]:
        close("(", STRESS)
    while opened["["]:
        close("[", 1 / STRESS)
    if not all(map(math.isfinite, weights)):
        raise ValueError("The weights in the prompt multiply to more than a number can hold.")
    return _passages(letters, weights)


def _passages(letters: list[str], weights: list[float]) -> list[Passage]:
    """Neighbouring letters of one weight, joined."""
    passages: list[Passage] = []
    for letter, weight in zip(letters, weights):
        if passages and passages[-1].weight == weight:
            letter = passages.pop().text + letter
        passages.append(Passage(letter, weight))
    return passages


def token_weights(tokenizer: Tokenizer, passages: Sequence[Passage]) -> Tensor:
    """One weight for each slot, float32 [77]; start, end and padding have weight 1.

    A token takes the weight of its first letter, so emphasis never changes how a word is cut.
    """
    letters = [passage.weight for passage in passages for _ in passage.text]
    text, weights = "".join(passage.text for passage in passages), torch.ones(LENGTH)
    for slot, (begin, _) in enumerate(tokenizer.spans(text)[:ROOM], start=1):
        weights[slot] = letters[begin]
    return weights


# ---- three ways to emphasise --------------------------------------------------------------------

Without = Iterable[tuple[float, Tensor]]  # (weight, the context without the words that have it)


def plain(context: Tensor, weights: Tensor, without: Without = ()) -> Tensor:
    """Multiply each vector by its weight: context [B, 77, D], weights [77] -> [B, 77, D].

    All vectors of weight 1 stay as they are, those of start, end and padding among them.
    """
    return _times(context, weights[:, None])


def mean_restored(context: Tensor, weights: Tensor, without: Without = ()) -> Tensor:
    """Plain scaling, then one factor for all 77 vectors that brings their mean back.

    The mean is a single number, over slots and dimensions of a prompt, as in AUTOMATIC1111's web
    UI (`EmphasisOriginal`). So vectors of weight 1 move a little too, those of start, end and
    padding among them. ValueError where the mean has become 0, since then no factor restores it.
    """
    scaled = context.float() * weights[:, None]
    both = (x.cpu().double() for x in (context, scaled))  # some devices have no doubles
    before, after = (x.mean(dim=(1, 2), keepdim=True) for x in both)
    if ((after == 0) & (before != 0)).any():
        raise ValueError("With these weights the mean is 0, and no factor restores it: change one.")
    factor = torch.where(before == after, 1.0, before / after)
    return (scaled * factor.to(scaled)).to(context.dtype)


def interpolated(context: Tensor, weights: Tensor, without: Without = ()) -> Tensor:
    """On the line from the prompt without the words (weight 0) to the prompt (weight 1), or beyond.

    Every passage pulls for itself: context + sum over passages of (weight - 1) (context - without).
    All vectors but the start's may change, since those after a word have read it. This is the idea
    of compel, which below 1 agrees at 0 and 0.5 (between them its line has an uneven pace) and
    above 1 goes away from the empty prompt instead.
    """
    pulls = ((weight - 1) * (context.float() - other.float()) for weight, other in without)
    return sum(pulls, context.float()).to(context.dtype)


EMPHASIS: dict[str, Callable[[Tensor, Tensor, Without], Tensor]] = {
    "plain": plain,
    "mean restored": mean_restored,
    "interpolated": interpolated,
}


def emphasise(sd, prompt: str | list[str], method: str = "plain") -> Tensor:
    """A prompt with `(word:1.3)` in it, or a list of B of them -> context [B, 77, D].

    sd: anything with a `tokenizer` and `encode(text)`, such as `bf.load()`. method: a name out of
    `EMPHASIS`, else ValueError. Without emphasis it is `sd.encode(prompt)`, to the bit.
    """
    if method not in EMPHASIS:
        raise ValueError(f"no method {method!r}: choose one of {', '.join(EMPHASIS)}")
    if not isinstance(prompt, str):
        return torch.cat([emphasise(sd, one, method) for one in prompt])
    passages = parse(prompt)
    texts = [passage.text for passage in passages]
    context = sd.encode("".join(texts))
    weights = token_weights(sd.tokenizer, passages).to(context.device)
    without = (  # encoded only when the method asks for it
        (passage.weight, sd.encode("".join(texts[:at] + texts[at + 1 :])))
        for at, passage in enumerate(passages)
        if passage.weight != 1
    )
    return EMPHASIS[method](context, weights, without)


# ---- arithmetic with prompts --------------------------------------------------------------------


def scale(context: Tensor, factor: float, slots: Sequence[int] | None = None) -> Tensor:
    """The vectors in `slots` times a factor, all 77 where none are named: [B, 77, D] -> the same.

    ValueError for a slot that is not there.
    """
    count = context.shape[1]
    if slots is None:
        return _times(context, torch.full((count, 1), float(factor), device=context.device))
    if wrong := [slot for slot in slots if not 0 <= slot < count]:
        raise ValueError(f"There are no slots {wrong}: a prompt has 0 to {count - 1}.")
    weights = torch.ones(count, 1, device=context.device)
    weights[list(slots)] = float(factor)
    return _times(context, weights)


def scale_mean(context: Tensor, factor: float) -> Tensor:
    """Scale what all vectors of a prompt share, their mean over the slots, and nothing else.

    0 drops it, 1 leaves every bit. [B, 77, D] -> the same.
    """
    return context + (factor - 1) * context.mean(dim=1, keepdim=True)


def mix(one: Tensor, other: Tensor, share: float) -> Tensor:
    """(1 - share) one + share other, slot by slot; both ends are exact. ValueError on shapes."""
    _same_shape(one, other)
    return torch.lerp(one, other, share)


def negate(context: Tensor, empty: Tensor) -> Tensor:
    """The prompt mirrored in the empty prompt: as far from it, on the other side."""
    return mix(context, empty, 2.0)


def move(context: Tensor, away_from: Tensor, towards: Tensor, amount: float = 1.0) -> Tensor:
    """Add a direction: context + amount (towards - away_from), all of one shape, else ValueError.

    With "a red car" and "a blue car" as ends it is meant to turn other red things blue.
    """
    _same_shape(context, away_from)
    _same_shape(context, towards)
    return context + amount * (towards - away_from)


def _times(context: Tensor, weights: Tensor) -> Tensor:
    """The product in float32, given back in the context's own number format."""
    return (context.float() * weights).to(context.dtype)


def _same_shape(one: Tensor, other: Tensor) -> None:
    if one.shape != other.shape:
        raise ValueError(
            f"Two prompts of shapes {list(one.shape)} and {list(other.shape)} do not go together; "
            "encode both with the same model, and as many prompts in the one as in the other."
        )
