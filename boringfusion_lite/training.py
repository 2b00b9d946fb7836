"""Train the three networks of a tiny Stable Diffusion on drawn scenes, each with one command.

    python -m boringfusion_lite.training vae  --minutes 20
    python -m boringfusion_lite.training clip --minutes 15
    python -m boringfusion_lite.training unet --minutes 60

The order matters: the UNet learns on the VAE's latents and the text tower's vectors. A run stops
when its minutes are spent, counting every earlier session; call it again with more minutes and it
goes on from its last checkpoint in `runs/`. `recipes.py` holds what is trained, this file how.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from . import recipes, scenes
from .clip import CLIP, TextEncoder
from .dataset import Pictures
from .runtime import model_folder
from .schedule import Schedule
from .tokenizer import Tokenizer
from .unet import UNet
from .vae import VAE


@dataclass(frozen=True)
class Record:
    """What one training step tells: its number, loss, learning rate, and seconds spent so far."""

    step: int
    loss: float
    learning_rate: float
    seconds: float
    samples: int


class MovingAverage:
    """An exponential moving average of a model's weights, steadier than the weights themselves.

    The decay warms up as (1 + step) / (10 + step), so that a short run is not dominated by its
    random start (as in TensorFlow's ExponentialMovingAverage).
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.weights = {name: p.detach().clone() for name, p in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        keep = min(self.decay, (1 + step) / (10 + step))
        current = model.state_dict()
        torch._foreach_lerp_(
            list(self.weights.values()), [current[name] for name in self.weights], 1 - keep
        )


@dataclass
class Run:
    """One training run: a model, its loss, and where and how long to train."""

    name: str
    model: nn.Module
    loss: Callable[[int, float], tuple[Tensor, int]]  # (step, progress) -> loss, samples seen
    folder: Path
    minutes: float
    learning_rate: float
    slower: tuple[str, ...] = ()  # parameter prefixes that learn at half the rate
    warm_up: int = 100
    ema: float = 0.999
    save_every: float = 180.0  # seconds

    def __post_init__(self):
        fast = [p for n, p in self.named_trainable() if not n.startswith(self.slower)]
        slow = [p for n, p in self.named_trainable() if self.slower and n.startswith(self.slower)]
        groups = [{"params": fast, "rate": 1.0}, {"params": slow, "rate": 0.5}]
        self.optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=self.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=0.01,
        )
        self.average = MovingAverage(self.model, self.ema)
        self.step, self.samples, self.seconds = 0, 0, 0.0
        if self.checkpoint.exists():
            self.resume()

    def named_trainable(self) -> list[tuple[str, nn.Parameter]]:
        return [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]

    @property
    def checkpoint(self) -> Path:
        return self.folder / f"{self.name}.pt"

    @property
    def progress(self) -> float:
        """Share of the minutes that is spent, 0 to 1."""
        return min(1.0, self.seconds / (60 * self.minutes))

    def save(self) -> None:
        """Write the checkpoint; the old one stays until the new one is complete."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "model": self.model.state_dict(),
            "average": self.average.weights,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "samples": self.samples,
            "seconds": self.seconds,
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def resume(self) -> None:
        """Continue from the checkpoint: weights, average, optimiser and counters."""
        device = next(self.model.parameters()).device
        state = torch.load(self.checkpoint, map_location=device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.weights = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.samples, self.seconds = state["step"], state["samples"], state["seconds"]

    def rate(self) -> float:
        """Learning rate now: a linear warm-up, then a cosine from full to 2 %."""
        warm = min(1.0, (self.step + 1) / self.warm_up)
        cosine = 0.51 + 0.49 * math.cos(math.pi * self.progress)
        return self.learning_rate * warm * cosine

    def train(self) -> Iterator[Record]:
        """Train until the minutes are spent, yielding a Record a step; saves as it goes."""
        saved, self.model = time.monotonic(), self.model.train()
        while self.progress < 1:
            began, rate = time.monotonic(), self.rate()
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group["rate"]
            loss, samples = self.loss(self.step, self.progress)
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"the loss of {self.name} is {loss.item()} at step {self.step}; the last good "
                    f"state is in {self.checkpoint}. Lower the learning rate and start again."
                )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_([p for _, p in self.named_trainable()], 1.0)
            self.optimizer.step()
            self.average.update(self.model, self.step)
            self.step, self.samples = self.step + 1, self.samples + samples
            self.seconds += time.monotonic() - began
            if time.monotonic() - saved > self.save_every or self.progress >= 1:
                self.save()
                saved = time.monotonic()
            yield Record(self.step, loss.item(), rate, self.seconds, self.samples)


# ---- the command line ----------------------------------------------------------------------------


def averaged(run: str, folder: Path) -> dict[str, Tensor]:
    """The averaged weights of an earlier run; FileNotFoundError says which command makes them."""
    file = folder / f"{run}.pt"
    if not file.exists():
        raise FileNotFoundError(
            f"{file} is missing: train that part first, `python -m boringfusion_lite.training "
            f"{run} --runs {folder}`."
        )
    return torch.load(file, map_location="cpu", weights_only=True)["average"]


def vae_run(pictures: Pictures, args: argparse.Namespace) -> Run:
    vae = VAE(recipes.TINY_VAE).to(args.device, memory_format=torch.channels_last)
    loss = recipes.VAELoss(vae, pictures, args.device)
    return Run("vae", vae, loss, args.runs, args.minutes, learning_rate=5e-4)


def clip_run(pictures: Pictures, args: argparse.Namespace) -> Run:
    clip, tokenizer = CLIP(recipes.TINY_CLIP), Tokenizer.load(args.tokenizer)
    words = " ".join(sorted(scenes.vocabulary(pictures.world)))
    recipes.keep_only(clip.text_encoder, tokenizer.known_ids(words))
    loss = recipes.CLIPLoss(clip.to(args.device), pictures, tokenizer, args.device)
    return Run("clip", clip, loss, args.runs, args.minutes, learning_rate=1e-3)


class Denoiser(nn.Module):
    """UNet and text tower as one thing to train, or to leave the tower as CLIP made it."""

    def __init__(self, unet: UNet, text_encoder: TextEncoder, train_text: bool):
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder.requires_grad_(train_text)


def unet_run(pictures: Pictures, args: argparse.Namespace) -> Run:
    vae, clip = VAE(recipes.TINY_VAE), CLIP(recipes.TINY_CLIP)
    vae.load_state_dict(averaged("vae", args.runs))
    clip.load_state_dict(averaged("clip", args.runs))
    latents = recipes.cached_latents(vae.to(args.device), pictures, args.runs, args.device)
    unet = UNet(recipes.TINY_UNET).to(memory_format=torch.channels_last)
    model = Denoiser(unet, clip.text_encoder, args.train_text).to(args.device)
    loss = recipes.UNetLoss(
        unet,
        clip.text_encoder,
        latents,
        pictures,
        Tokenizer.load(args.tokenizer),
        Schedule.scaled_linear(),
        args.device,
        train_text=args.train_text,
    )
    return Run(
        "unet",
        model,
        loss,
        args.runs,
        args.minutes,
        learning_rate=5e-4,
        slower=("text_encoder.",),
        warm_up=300,
    )


RUNS = {"vae": vae_run, "clip": clip_run, "unet": unet_run}
WORLDS = {"starter": scenes.STARTER, "all": scenes.WORLD}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m boringfusion_lite.training",
        description="Train one network of Tiny SD on drawn scenes; interrupt and resume at will.",
    )
    parser.add_argument("network", choices=RUNS, help="in this order: vae, clip, unet")
    parser.add_argument("--minutes", type=float, required=True, help="in all, earlier ones counted")
    parser.add_argument("--world", choices=WORLDS, default="starter", help="which scenes to draw")
    parser.add_argument("--pictures", type=int, default=16_000, help="how many scenes to draw")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="checkpoints and caches")
    parser.add_argument("--device", type=torch.device, default="cpu", help="cpu, cuda, ...")
    parser.add_argument("--train-text", action="store_true", help="unet: train the text tower too")
    args = parser.parse_args(arguments)
    args.tokenizer = model_folder() / "tokenizer"
    return args


def main(arguments: list[str] | None = None) -> None:
    """Run one training from the command line, with a bar that shows minutes and loss."""
    args = parse(arguments)
    torch.manual_seed(0)  # the initial weights; everything later draws from generators of its own
    pictures = Pictures.drawn(WORLDS[args.world], args.pictures, args.runs)
    run, smooth = RUNS[args.network](pictures, args), None
    with tqdm(total=60 * args.minutes, initial=run.seconds, unit="s", desc=run.name) as bar:
        for record in run.train():
            smooth = record.loss if smooth is None else 0.98 * smooth + 0.02 * record.loss
            bar.update(record.seconds - bar.n)
            bar.set_postfix(loss=f"{smooth:.4f}", step=record.step, samples=record.samples)


if __name__ == "__main__":
    main()
