"""What does not change from step to step of a picture, computed once.

At every step cross-attention turns the same words into the same keys and values, and what a
timestep adds to a block depends on the timestep alone. Those layers are a small part of the work
(notebook 08 counts it), but many, and on a small model each costs more than its arithmetic.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from threading import get_ident

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import ResBlock
from .unet import TransformerBlock, UNet


def remembering(
    unet: UNet, timesteps: Iterable[float]
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The UNet for one run of a sampler: called as it is, (x, t, context), with the same answers.

    timesteps: those of the run; at others, such as the halfway steps of some samplers, the UNet
    computes all of it. Its weights must stay as they are until the run ends.
    """
    of_words = [
        layer
        for block in unet.modules()
        if isinstance(block, TransformerBlock)
        for layer in (block.cross_attention.k, block.cross_attention.v)
    ]
    of_time = [block.time for block in unet.modules() if isinstance(block, ResBlock)]
    words: dict[int, tuple[Tensor, dict[nn.Module, Tensor]]] = {}  # id -> the context, its answers
    times: dict[float, dict[nn.Module, Tensor]] = {}

    def learn_times(device: torch.device) -> None:
        table = torch.tensor([float(t) for t in timesteps], device=device)
        rows = unet.time(table)
        answers = {unet.time: rows} | {layer: layer(F.silu(rows)) for layer in of_time}
        for number, t in enumerate(table.tolist()):
            times[t] = {layer: answer[number] for layer, answer in answers.items()}

    def answer(x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        if not times:
            learn_times(x.device)
        if id(context) not in words:
            words[id(context)] = context, {layer: layer(context) for layer in of_words}
        rows = {} if t.dim() else times.get(t.item(), {})
        known = {layer: row.expand(len(x), -1) for layer, row in rows.items()}
        with answering(known | words[id(context)][1]):
            return unet(x, t, context)

    return answer


@contextmanager
def answering(known: Mapping[nn.Module, Tensor]) -> Iterator[None]:
    """Inside, these layers give the answers that are known, to the thread that knows them."""
    for layer, answer in known.items():
        layer.forward = partial(tell, layer, answer, get_ident())
    try:
        yield
    finally:
        for layer in known:
            vars(layer).pop("forward", None)  # the method of its class again


def tell(layer: nn.Module, answer: Tensor, thread: int, asked: Tensor) -> Tensor:
    """The answer; but whoever asks from another thread asks something else: compute it."""
    return answer if get_ident() == thread else type(layer).forward(layer, asked)
