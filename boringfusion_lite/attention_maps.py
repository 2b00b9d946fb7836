"""Who looks where: the attention probabilities of a UNet, recorded while it runs.

The fused kernel never shows its weights, so hooks keep the queries and keys and the softmax is
computed once more (Vaswani et al. 2017, eq. 1). The UNet's own numbers are not touched, and every
hook is taken off again, also after an error. A word's map is the sum over its tokens: shares add
up, and over all 77 slots they make 1. Where a pixel looks is not what it then does: notebook 04
puts an intervention beside every map.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .anatomy import unet_rows
from .attention import Attention
from .tokenizer import LENGTH, Tokenizer
from .unet import UNet

KINDS = {"cross": "cross_attention", "self": "self_attention"}
HALVES = ("all", "empty", "prompt")


class Word(NamedTuple):
    """A word of a prompt, or "start", "end" and "padding", with its slots out of 0..76."""

    text: str
    slots: tuple[int, ...]


def prompt_words(tokenizer: Tokenizer, prompt: str) -> list[Word]:
    """Every one of the 77 slots under its name: start, the words in their order, end, padding.

    A word may take several slots; what did not fit is left out.
    """
    words, slot = [Word("start", (0,))], 1
    for text, ids in tokenizer.words(prompt):
        slots = tuple(n for n in range(slot, slot + len(ids)) if n < LENGTH - 1)
        slot += len(ids)
        words += [Word(text, slots)] if slots else []
    slot = min(slot, LENGTH - 1)
    words.append(Word("end", (slot,)))
    return words + ([Word("padding", tuple(range(slot + 1, LENGTH)))] if slot + 1 < LENGTH else [])


@dataclass
class AttentionMaps:
    """What was recorded: one tensor [B, heads, pixels, keys] for every call of the UNet and layer.

    heads is 1 where they were averaged; keys are the 77 slots, or in self-attention the pixels.
    """

    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)  # layer -> its height and width
    timesteps: list[int] = field(default_factory=list)  # of every call, in order
    maps: dict[tuple[int, str], Tensor] = field(default_factory=dict)  # (call, layer) -> float32

    @property
    def layers(self) -> list[str]:
        """The recorded layers, in the order in which they run."""
        return list(self.sizes)

    @property
    def bytes(self) -> int:
        """Memory that the maps take."""
        return sum(probabilities.nbytes for probabilities in self.maps.values())

    def at(self, layer: str, call: int = -1) -> Tensor:
        """Probabilities [B, heads, pixels, keys] of a layer in a call, -1 for the last one.

        KeyError, naming what there is, where it was not recorded.
        """
        calls = len(self.timesteps)
        key = (call + calls if call < 0 else call, layer)
        if key not in self.maps:
            raise KeyError(
                f"no map of layer {layer!r}, call {call}: there are {calls} calls of "
                f"the UNet and the layers {', '.join(self.layers) or 'none'}"
            )
        return self.maps[key]

    def share(
        self,
        slots: Iterable[int],
        layers: str | Sequence[str] | None = None,
        calls: int | Sequence[int] | None = None,
        head: int | None = None,
        picture: int = 0,
    ) -> Tensor:
        """Which share of its attention every place gives to `slots` together: [h, w] in 0..1.

        Averaged over the chosen layers, calls and heads (all of them where none is named). Layers
        of different size are first brought to the largest by repeating cells, which keeps shares
        adding up to 1.
        """
        layers = self.layers if layers is None else [layers] if isinstance(layers, str) else layers
        calls = range(len(self.timesteps)) if calls is None else calls
        calls = [calls] if isinstance(calls, int) else calls
        slots, found = list(slots), []
        for layer in layers:
            maps = torch.stack([self.at(layer, call)[picture] for call in calls])
            maps = maps.mean(dim=1) if head is None else maps[:, head]  #  [calls, pixels, keys]
            found.append(maps[..., slots].sum(-1).mean(0).unflatten(0, self.sizes[layer]))
        size = max((tuple(one.shape) for one in found), default=None)
        if size is None:
            raise ValueError("nothing was recorded: call the UNet inside the block")
        whole = [F.interpolate(one[None, None], size=size)[0, 0] for one in found]
        return torch.stack(whole).mean(dim=0)

    def seen_from(
        self, layer: str, y: int, x: int, call: int = -1, head: int | None = None, picture: int = 0
    ) -> Tensor:
        """Self-attention: where the place (y, x) of a layer looks. -> [h, w], adding up to 1."""
        height, width = self.sizes[layer]
        maps = self.at(layer, call)[picture]
        if maps.shape[-1] != height * width:
            raise ValueError(f'{layer} was recorded with kind "cross": its keys are not places')
        maps = maps.mean(dim=0) if head is None else maps[head]
        return maps[y * width + x].unflatten(0, (height, width))


def attention_layers(unet: UNet, kind: str = "cross") -> dict[str, Attention]:
    """The attention layers of one kind, "cross" or "self", by row: "down 1" is in unet.down[1]."""
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r}: choose from {', '.join(KINDS)}")
    rows = {name: row for name, row in unet_rows(unet).items() if row.transformer is not None}
    return {name: getattr(row.transformer.block, KINDS[kind]) for name, row in rows.items()}


@contextmanager
def attention_maps(
    unet: UNet,
    kind: str = "cross",
    layers: Sequence[str] | None = None,
    *,
    half: str = "all",
    mean_heads: bool = False,
    limit: int = 2**28,
) -> Iterator[AttentionMaps]:
    """Record the probabilities of chosen layers in every call of the UNet while the block runs.

        with attention_maps(sd.unet, layers=["up 3"], half="prompt") as seen:
            *_, last = sd.sample(prompt)
        seen.share(slots, "up 3", calls=0)      # [h, w]

    layers: some of `attention_layers`, all where none are named. half: with guidance the UNet gets
    a batch of which the first half has the empty prompt and the second yours; "all" keeps the batch
    as it is. Maps are float32 on the CPU. ValueError for unknown names and for half a batch of an
    odd number; MemoryError before more than `limit` bytes would be held.
    """
    found = attention_layers(unet, kind)
    names = list(found) if layers is None else list(layers)
    if unknown := [name for name in names if name not in found]:
        raise ValueError(f"no {kind}-attention in {unknown}: choose from {', '.join(found)}")
    if half not in HALVES:
        raise ValueError(f"half {half!r}: choose from {', '.join(HALVES)}")
    seen = AttentionMaps()

    def begin(module, args, kwargs) -> None:
        t = args[1] if len(args) > 1 else kwargs["t"]
        seen.timesteps.append(int(torch.as_tensor(t).flatten()[0]))

    def keep(name: str, attention: Attention, kept: dict) -> None:
        queries, keys = (attention.split_heads(_part(kept[side], half)) for side in "qk")
        batch, heads, pixels, _ = queries.shape
        size = 4 * batch * (1 if mean_heads else heads) * pixels * keys.shape[-2]
        if seen.bytes + size > limit:
            raise MemoryError(
                f"the maps of {name!r} would bring the record to {seen.bytes + size:,} bytes, over "
                f"the limit of {limit:,}. Name fewer layers, average with mean_heads=True, record "
                "fewer calls, or raise the limit."
            )
        seen.maps[len(seen.timesteps) - 1, name] = probabilities(queries, keys, mean_heads).cpu()

    with ExitStack() as hooks:
        hooks.callback(unet.register_forward_pre_hook(begin, with_kwargs=True).remove)
        for name in names:
            for hook in _hooks(unet_rows(unet)[name].transformer, found[name], name, seen, keep):
                hooks.callback(hook.remove)
        yield seen


def _hooks(transformer, attention: Attention, name: str, seen: AttentionMaps, keep) -> list:
    """On one layer: its size on the way in, q and k in the middle, its maps at the end."""
    kept: dict[str, Tensor] = {}

    def note_size(module, args) -> None:
        seen.sizes[name] = tuple(args[0].shape[-2:])

    def note(side: str):
        return lambda module, args, output: kept.update({side: output})

    def end(module, args, output) -> None:
        keep(name, attention, kept)
        kept.clear()

    return [
        transformer.register_forward_pre_hook(note_size),
        attention.q.register_forward_hook(note("q")),
        attention.k.register_forward_hook(note("k")),
        attention.register_forward_hook(end),
    ]


@torch.no_grad()
def probabilities(queries: Tensor, keys: Tensor, mean_heads: bool = False) -> Tensor:
    """softmax(q k^T / sqrt(d)) in float32 -> [B, heads, N, M].

    queries [B, heads, N, d], keys [B, heads, M, d]. One head at a time, to save memory; heads is 1
    where they are averaged.
    """

    def of_head(head: int) -> Tensor:
        q, k = queries[:, head].float(), keys[:, head].float()
        return torch.softmax(q @ k.transpose(1, 2) * q.shape[-1] ** -0.5, dim=-1)

    heads = range(queries.shape[1])
    if mean_heads:
        return (sum(map(of_head, heads)) / len(heads))[:, None]
    return torch.stack([of_head(head) for head in heads], dim=1)


def _part(x: Tensor, half: str) -> Tensor:
    """The asked-for half of a guided batch [2B, ...]: the empty prompts come first."""
    if half == "all":
        return x.detach()
    if len(x) % 2:
        raise ValueError(
            f"a batch of {len(x)} has no halves: half={half!r} is for calls with guidance "
            '(a scale other than 1); use half="all"'
        )
    return x.detach().chunk(2)[HALVES.index(half) - 1]
