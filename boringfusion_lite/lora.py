"""LoRA: what a model learned in addition, as two thin matrices a layer, as strong as you like.

    lora = bf.load_lora("crayon.safetensors", sd)
    crayon = bf.with_loras(sd, (lora, 0.8))                  # 0 .. 1 and beyond, a slider's worth
    picture = crayon("a red house", seed=0)
    both = bf.with_loras(sd, (lora, 0.8), (other, 0.5))

A weight W [out, in] becomes W + strength * alpha / rank * up @ down, where `up` is [out, rank] and
`down` is [rank, in]: at rank 4, 2,560 numbers change the 102,400 of a 320 x 320 layer. Hu et al.
2021 (arXiv 2106.09685, section 4.1) call the two B and A.

The model given is never touched: `with_loras` computes from its weights each time, so a strength
means the same however often you move the slider, and the way back is to go on with `sd`.
"""

import math
import re
from dataclasses import replace
from numbers import Real
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .pipeline import StableDiffusion
from .runtime import generator
from .sharing import with_weights

PARTS = ("unet", "text_encoder")
ATTENTION = r"unet\..*attention\.(q|k|v|out)"  # what most LoRAs change


class LowRank(NamedTuple):
    """The change of one layer: alpha / rank * up @ down, in the shape of the layer's weight.

    down: [rank, in], of a convolution [rank, in, k, k]. up: [out, rank], or [out, rank, 1, 1].
    """

    down: Tensor
    up: Tensor
    alpha: float

    def change(self, device: torch.device) -> Tensor:
        """float32 [out, in], for a convolution [out, in * k * k]."""
        up, down = (x.flatten(1).to(device, torch.float32) for x in (self.up, self.down))
        return self.alpha / len(down) * (up @ down)


LoRA = dict[str, LowRank]  # by place: "unet.down.1.transformer.block.self_attention.q"


def layers(sd: StableDiffusion) -> dict[str, nn.Module]:
    """All that a LoRA can change, by place: the linear layers and convolutions of `PARTS`."""
    return {
        f"{part}.{name}": layer
        for part in PARTS
        for name, layer in getattr(sd, part).named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }


def with_loras(sd: StableDiffusion, *loras: tuple[LoRA, float]) -> StableDiffusion:
    """The model as the LoRAs change it, each given as (lora, strength); sd stays as it is.

    Strength 0 is the model itself, to the bit, 1 what was trained, below 0 the opposite; the
    changes of several add up. Weights that do not change are shared with sd, not copied.
    ValueError for a LoRA made for a model of another shape and a strength that is no number.
    """
    with torch.no_grad():
        changed = updated(sd, *loras)
    parts = {part: with_weights(getattr(sd, part), changed[part]) for part in changed}
    return replace(sd, **parts)


def updated(sd: StableDiffusion, *loras: tuple[LoRA, float]) -> dict[str, dict[str, Tensor]]:
    """The weights that the LoRAs change: part -> name -> W + the sum of all changes, in W's dtype.

    Differentiable in `up` and `down`, so this is also how a LoRA is trained (see `new_lora`).
    """
    for pair in loras:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError("Give each LoRA with its strength, as with_loras(sd, (lora, 0.8)).")
        if not isinstance(pair[1], Real) or not math.isfinite(pair[1]):
            raise ValueError(f"A LoRA's strength is a finite number, such as 0.8, not {pair[1]!r}.")
        check_fit(pair[0], sd)
    active = [(lora, strength) for lora, strength in loras if strength != 0]
    found, changed = layers(sd), {}
    for place in dict.fromkeys(place for lora, _ in active for place in lora):
        weight = found[place].weight
        change = sum(s * lora[place].change(weight.device) for lora, s in active if place in lora)
        part, _, name = place.partition(".")
        new = weight.detach().float() + change.reshape(weight.shape)
        changed.setdefault(part, {})[f"{name}.weight"] = new.to(weight.dtype)
    return changed


def new_lora(
    sd: StableDiffusion,
    rank: int = 4,
    where: str = ATTENTION,
    alpha: float | None = None,
    seed: int = 0,
) -> LoRA:
    """A LoRA to train, which changes nothing yet: `down` is random, `up` is 0. float32 on the CPU.

    where: a regular expression that a layer's whole place must match, see `layers`. alpha: the
    rank, unless given, so that alpha / rank is 1. ValueError where no layer matches.

        lora = new_lora(sd, rank=4)
        sd.unet.requires_grad_(False)
        optimizer = torch.optim.AdamW(parameters(lora), lr=1e-3)
        eps = torch.func.functional_call(sd.unet, updated(sd, (lora, 1))["unet"], (x, t, context))
    """
    if rank < 1:
        raise ValueError(f"rank = {rank}: a LoRA has rank 1 or more.")
    numbers, lora = generator(seed), {}
    for place, layer in layers(sd).items():
        if re.fullmatch(where, place):
            out, *into = layer.weight.shape  # [out, in] or [out, in, k, k]
            down = torch.randn(rank, *into, generator=numbers) * math.prod(into) ** -0.5
            up = torch.zeros(out, rank, *[1] * (len(into) - 1))
            lora[place] = LowRank(down, up, float(rank if alpha is None else alpha))
    if not lora:
        raise ValueError(f"No layer matches {where!r}; {ATTENTION!r} names those of attention.")
    return lora


def parameters(lora: LoRA) -> list[Tensor]:
    """All matrices of a LoRA as an optimiser takes them: from now on they collect gradients."""
    return [x.requires_grad_() for low_rank in lora.values() for x in (low_rank.down, low_rank.up)]


def check_fit(lora: LoRA, sd: StableDiffusion) -> None:
    """ValueError where a LoRA has a layer that the model lacks, or matrices of another shape."""
    found, wrong = layers(sd), []
    for place, (down, up, _) in lora.items():
        if place not in found:
            wrong.append(f"{place} (no such layer)")
            continue
        rank, (out, *into) = len(down), found[place].weight.shape
        sizes = len(up), math.prod(up.shape[1:]), rank, math.prod(down.shape[1:])
        if not rank or min(up.dim(), down.dim()) < 2 or sizes != (out, rank, rank, math.prod(into)):
            wrong.append(f"{place} ({list(up.shape)} @ {list(down.shape)} for {[out, *into]})")
    if wrong:
        raise ValueError(
            f"This LoRA was made for a model of another shape: {len(wrong)} of its {len(lora)} "
            f"layers do not fit this one, such as {', '.join(wrong[:3])}. Nothing was changed; use "
            "it with the model family that it was trained on."
        )
