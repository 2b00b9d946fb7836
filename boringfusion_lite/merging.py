"""Mixing the weights of two models of one shape: a weighted sum, or one model's lesson for another.

It works between relatives, models that were trained on from common weights, and only there: a
network's inner channels have no fixed order, so those of strangers do not belong together.
Notebook 07 shows both.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from .attention import Attention
from .blocks import ResBlock
from .pipeline import StableDiffusion
from .runtime import generator
from .unet import GEGLU

Weights = Mapping[str, Tensor]
PARTS = ("text_encoder", "unet", "vae")


def weighted_sum(a: Weights, b: Weights, weight: float) -> dict[str, Tensor]:
    """(1 - weight) * a + weight * b, name by name: at 0 and 1 exactly a and b.

    Beyond 0 and 1 it goes on in the same direction. ValueError where names or shapes differ.
    """
    _check(a, b)
    return {name: _mixed(torch.lerp, a[name], b[name], weight) for name in a}


def add_difference(a: Weights, b: Weights, c: Weights, weight: float = 1.0) -> dict[str, Tensor]:
    """a + weight * (b - c): what b learned since it was c, added to a. At 0 exactly a.

    ValueError where names or shapes differ. Ilharco et al. 2022, task arithmetic (2212.04089).
    """
    _check(a, b)
    _check(a, c)
    return {
        name: _mixed(lambda x, y, z, w: x + w * (y - z), a[name], b[name], c[name], weight)
        for name in a
    }


def merge(
    a: StableDiffusion,
    b: StableDiffusion,
    weight: float = 0.5,
    minus: StableDiffusion | None = None,
    parts: tuple[str, ...] = PARTS,
) -> StableDiffusion:
    """A new model, the weighted sum of two; or, with `minus`, a + weight * (b - minus).

    Of each part named in `parts` the weights are mixed; the others are a's. a, b and minus stay as
    they are. ValueError where the models differ in shape, noise schedule or latent scale.
    """
    made = {}
    for other in [b] if minus is None else [b, minus]:
        if other.schedule != a.schedule:
            raise ValueError("The models were trained with different noise schedules.")
    for part in parts:
        nets = [getattr(sd, part) for sd in (a, b, minus) if sd is not None]
        if any(net.config != nets[0].config for net in nets):
            raise ValueError(f"The {part}s have different configs; merging needs one and the same.")
        states = [net.state_dict() for net in nets]
        mix = weighted_sum if minus is None else add_difference
        made[part] = copy.deepcopy(nets[0])
        made[part].load_state_dict(mix(*states, weight))
    return replace(a, **made)


@torch.no_grad()
def nudged(network: nn.Module, size: float, seed: int) -> nn.Module:
    """A copy with every weight moved at random, by `size` times the spread of its tensor.

    A relative to try merging with, where no model trained on from the same weights is at hand.
    """
    network = copy.deepcopy(network)
    numbers = generator(seed)
    for weights in network.parameters():
        push = torch.randn(weights.shape, generator=numbers).to(weights)
        weights += size * weights.float().std(correction=0).to(weights) * push
    return network


@torch.no_grad()
def reordered(network: nn.Module, seed: int) -> nn.Module:
    """A copy that gives the same answers, up to rounding, with its inner channels in a new order.

    Each ResBlock, feed-forward layer and attention between its first layer and its last. Proof that
    equal models can have quite different weights, and why strangers cannot be merged. Ainsworth et
    al. 2022, Git Re-Basin (arXiv 2209.04836).
    """
    network, numbers = copy.deepcopy(network), generator(seed)
    for part in network.modules():
        if isinstance(part, ResBlock):  # the group norm between wants its groups kept together
            order = _order(part.norm2.num_channels, part.norm2.num_groups, numbers)
            first, last = (part.conv1, part.time, part.norm2), part.conv2
        elif isinstance(part, GEGLU):  # value i is gated by gate i
            order, first, last = _order(part.out.in_features, 1, numbers), (), part.out
            for weights in part.project.parameters():
                weights.copy_(weights[torch.cat([order, order + len(order)])])
        elif isinstance(part, Attention):  # heads stay together, and q with its k
            order = _order(part.out.in_features, part.heads, numbers)
            first, last = (part.q, part.k, part.v), part.out
        else:
            continue
        for layer in first:
            for weights in layer.parameters() if layer is not None else ():
                weights.copy_(weights[order])
        last.weight.copy_(last.weight[:, order])
    return network


def _order(channels: int, groups: int, numbers: torch.Generator) -> Tensor:
    """Channels in random order, those of a group next to each other."""
    rows = torch.arange(channels).reshape(groups, -1)[torch.randperm(groups, generator=numbers)]
    return torch.cat([row[torch.randperm(len(row), generator=numbers)] for row in rows])


def _mixed(rule, *tensors_and_weight) -> Tensor:
    """The rule in float32, the result in the dtype of the first; whole numbers stay as they are."""
    *tensors, weight = tensors_and_weight
    if not tensors[0].is_floating_point():
        return tensors[0].clone()
    return rule(*(x.to(tensors[0].device).float() for x in tensors), weight).to(tensors[0].dtype)


def _check(a: Weights, b: Weights) -> None:
    if a.keys() != b.keys():
        odd = sorted(a.keys() ^ b.keys())
        raise ValueError(f"{len(odd)} weights are in one model only, such as {odd[0]!r}.")
    for name, tensor in a.items():
        if tensor.shape != b[name].shape:
            shapes = f"{list(tensor.shape)} and {list(b[name].shape)}"
            raise ValueError(f"{name!r} has shapes {shapes}; only models of one shape can merge.")
