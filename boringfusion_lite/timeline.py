"""When each part of a model works during a run: the notes for the score of notebook 07."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import perf_counter

import torch

from .pipeline import StableDiffusion


@dataclass(frozen=True)
class Call:
    """One note: a part works from `start` to `end`, in milliseconds since the block began."""

    part: str
    start: float
    end: float
    shape: tuple[int, ...] = ()  # of what came out; empty where it was not noted


@contextmanager
def timeline(sd: StableDiffusion) -> Iterator[list[Call]]:
    """A list of calls, in the order of time, complete once the block is left.

    The three networks are noted by hooks. What lies between them counts as the tokenizer before
    a text encoder's call, the drawing of noise included, and as the sampler before any other.
    """
    networks = {"text encoder": sd.text_encoder, "UNet": sd.unet, "VAE decoder": sd.vae.decoder}
    calls: list[Call] = []
    starts: dict[str, float] = {}

    def now() -> float:
        if sd.device.type != "cpu":
            torch.accelerator.synchronize(sd.device)
        return perf_counter() * 1000 - began

    def begin(part: str) -> None:
        before, start = calls[-1].end if calls else 0.0, now()
        between = "tokenizer" if part == "text encoder" else "sampler"
        calls.append(Call(between, before, start))
        starts[part] = now()

    def end(part: str, output) -> None:
        calls.append(Call(part, starts[part], now(), tuple(output.shape)))

    with ExitStack() as hooks:
        for part, network in networks.items():
            before = network.register_forward_pre_hook(lambda *_, p=part: begin(p))
            after = network.register_forward_hook(lambda _, __, out, p=part: end(p, out))
            hooks.callback(before.remove)
            hooks.callback(after.remove)
        began = 0.0
        began = now()
        yield calls
