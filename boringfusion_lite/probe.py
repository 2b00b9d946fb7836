"""Looking inside without touching: hooks note what flows through a model, and how long it takes.

The models stay as they are, and every hook is taken off again, also after an error. Notebook 00
walks the whole trip with `shape_trace` and times it with `stopwatch`; notebook 04 asks the UNet
for one guess at a time. Its rows and its attention have modules of their own, `anatomy` and
`attention_maps`.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import perf_counter
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from .clip import TextEncoder
from .pipeline import StableDiffusion
from .runtime import generator
from .scenes import Scene
from .schedule import Schedule
from .tokenizer import Tokenizer
from .unet import UNet
from .vae import VAE


@dataclass(frozen=True)
class TensorRow:
    """One tensor on the way from prompt to picture."""

    stage: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    device: str
    bytes: int


def landmarks(sd: StableDiffusion) -> Iterator[tuple[str, str, nn.Module]]:
    """(stage, what comes out, module): the modules whose outputs are worth a row of the table."""
    text, unet, decoder = sd.text_encoder, sd.unet, sd.vae.decoder
    blocks, levels = unet.config.blocks_per_level, len(unet.config.channels)
    yield "text encoder", "token vectors", text.token_embedding
    yield "text encoder", "context", text.final_norm
    yield "UNet", "time vector", unet.time
    for level in range(levels):  # the last block of a level, before its size is halved
        yield "UNet", f"down, level {level + 1}", unet.down[blocks * (level + 1) + level]
    yield "UNet", "middle", unet.middle[-1]
    for level in reversed(range(levels)):  # the first block of a level, at the level's size
        yield "UNet", f"up, level {level + 1}", unet.up[(levels - 1 - level) * (blocks + 1)]
    yield "UNet", "eps", unet.conv_out
    yield "VAE decoder", "middle", decoder.middle
    for number, level in enumerate(decoder.levels, start=1):
        yield "VAE decoder", f"level {number}", level
    yield "VAE decoder", "image", decoder.conv_out


@torch.no_grad()
def shape_trace(sd: StableDiffusion, prompt: str, steps: int = 20) -> list[TensorRow]:
    """Walk once from prompt to picture, in one denoising step: a row for every tensor on the way.

    Without guidance and with one prompt, so that the first number of every shape is 1. Works on
    the meta device as well, where tensors have a shape but no content.
    """
    rows = []

    def note(stage: str, name: str, x: Tensor) -> None:
        dtype = str(x.dtype).removeprefix("torch.")
        rows.append(TensorRow(stage, name, tuple(x.shape), dtype, x.device.type, x.nbytes))

    def noting(stage: str, name: str):
        return lambda module, args, output: note(stage, name, output)

    with ExitStack() as hooks:
        for stage, name, module in landmarks(sd):
            hooks.callback(module.register_forward_hook(noting(stage, name)).remove)
        ids = sd.tokenize(prompt)
        note("tokenizer", "ids", ids)
        context = sd.text_encoder(ids)
        x, t = sd.noise(), int(sd.schedule.timesteps(steps)[0])
        note("noise", "x", x)
        eps = sd.schedule.to_eps(sd.unet(x, t, context), x, t)
        alpha_bar = sd.schedule.alphas_cumprod[t].item()
        x0 = (x - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5  # Ho et al. 2020, eq. 4
        note("sampler", "clean-guess", x0)
        sd.vae.decode(x0)
    return rows


def sd15_on_meta() -> StableDiffusion:
    """Stable Diffusion 1.5 without its weights: every shape is right, nothing is downloaded."""
    with torch.device("meta"):
        text_encoder, unet, vae = TextEncoder(), UNet(), VAE()
    return StableDiffusion(Tokenizer.load(), text_encoder, unet, vae, Schedule.scaled_linear())


def readable(size: float) -> str:
    """Bytes in the unit that suits them: 616 B, 38.5 KiB, 256 MiB."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} GiB"


def tensor_table(models: dict[str, list[TensorRow]]):
    """The traces of several models side by side, {name: rows}, as an IPython HTML table."""
    from IPython.display import HTML

    found = [{(row.stage, row.name): row for row in rows} for rows in models.values()]
    cells = ["<tr><th>stage</th><th>tensor</th>"]
    cells += [f"<th>{name}</th><th>dtype</th><th>device</th><th>bytes</th>" for name in models]
    for key in dict.fromkeys(key for rows in sorted(found, key=len)[::-1] for key in rows):
        cells.append(f"</tr><tr><td>{key[0]}</td><td>{key[1]}</td>".replace(" ", "&nbsp;"))
        for row in (rows.get(key) for rows in found):
            if row is None:
                cells.append("<td>-</td>" * 4)
                continue
            shown = list(row.shape), row.dtype, row.device, readable(row.bytes)
            cells += [f"<td>{value}</td>".replace(" ", "&nbsp;") for value in shown]
    return HTML(f"<table>{''.join(cells)}</tr></table>")


def parameter_counts(sd: StableDiffusion) -> dict[str, int]:
    """How many trained numbers each of the three networks holds."""
    networks = {"text encoder": sd.text_encoder, "UNet": sd.unet, "VAE": sd.vae}
    return {name: sum(p.numel() for p in net.parameters()) for name, net in networks.items()}


@contextmanager
def stopwatch(sd: StableDiffusion) -> Iterator[SimpleNamespace]:
    """Count each network's `calls` and their `ms` (milliseconds) while the block runs.

    `ms["everything else"]` is there once the block is left. On a GPU every call is waited for.
    """
    networks = {"text encoder": sd.text_encoder, "UNet": sd.unet, "VAE decoder": sd.vae.decoder}
    watch = SimpleNamespace(calls=dict.fromkeys(networks, 0), ms=dict.fromkeys(networks, 0.0))

    def now() -> float:
        if sd.device.type != "cpu":
            torch.accelerator.synchronize(sd.device)
        return perf_counter() * 1000

    def start(name: str) -> None:
        watch.calls[name] += 1
        watch.ms[name] -= now()

    def stop(name: str) -> None:
        watch.ms[name] += now()

    began = now()
    with ExitStack() as hooks:
        for name, network in networks.items():
            before = network.register_forward_pre_hook(lambda *_, n=name: start(n))
            after = network.register_forward_hook(lambda *_, n=name: stop(n))
            hooks.callback(before.remove)
            hooks.callback(after.remove)
        yield watch
    watch.ms["everything else"] = now() - began - sum(watch.ms.values())


@torch.no_grad()
def scene_latents(sd: StableDiffusion, drawn: Sequence[Scene]) -> Tensor:
    """Scenes, drawn at the model's size -> latents [B, 4, h, w] whose truth is known."""
    pictures = [np.asarray(scene.draw(sd.image_size)) for scene in drawn]
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 127.5 - 1
    return torch.cat([sd.vae.encode(one[None].to(sd.device, sd.dtype)) for one in images])


@torch.no_grad()
def guess(
    sd: StableDiffusion, x: Tensor, t: int | Tensor, context: Tensor, told: int | None = None
) -> tuple[Tensor, Tensor]:
    """One call of the UNet on x [B, 4, h, w] at timestep t (int or [B]): noise- and clean-guess.

    Without guidance. told: the timestep that the UNet is told instead of the true one. The
    clean-guess is (x - sqrt(1 - a) eps) / sqrt(a) with alpha_bar of the true t (Ho et al. 2020,
    eq. 4 solved for x_0).
    """
    t = torch.as_tensor(t).cpu().expand(len(x))
    asked = t if told is None else torch.full_like(t, told)
    answer = sd.unet(x, asked.to(x.device), context.expand(len(x), -1, -1))
    eps = sd.schedule.to_eps(answer, x, t)
    alpha_bar = sd.schedule.alphas_cumprod[t].reshape(-1, 1, 1, 1)
    signal, noise = alpha_bar.sqrt().to(x), (1 - alpha_bar).sqrt().to(x)
    return eps, (x - noise * eps) / signal


@torch.no_grad()
def noise_errors(
    sd: StableDiffusion, latents: Tensor, context: Tensor, timesteps: Sequence[int], seed: int = 0
) -> Tensor:
    """How wrong the noise-guess is: mean squared error, [T, B] for T timesteps and B pictures.

    latents [B, 4, h, w], context [B, 77, D]. Every t gets noise of its own, drawn from the seed.
    To predict zero gives 1 on average, whatever t.
    """
    drawing, rows = generator(seed), []
    for t in timesteps:
        noise = torch.randn(latents.shape, generator=drawing).to(latents)
        eps, _ = guess(sd, sd.schedule.add_noise(latents, noise, t), t, context)
        rows.append((eps - noise).float().square().flatten(1).mean(dim=1).cpu())
    return torch.stack(rows)
