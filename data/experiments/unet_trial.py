"""One small UNet trained for a number of steps on close-ups: what the unet_*.py experiments share.

Its size, its first weights, the order of the pictures and all noise are the same in every trial.
"""

import argparse
import base64
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F

import boringfusion_lite as bf
from boringfusion_lite import closeups, judge, plots, recipes, scoring, weights
from boringfusion_lite.objectives import eps_of
from boringfusion_lite.training import MovingAverage
from boringfusion_lite.unet import UNet, UNetConfig

HERE, CPU = Path(__file__).parent, torch.device("cpu")
BUCKETS = torch.arange(50, 1000, 100)  # the timesteps at which errors are measured
SHOWN = (
    "a red house in a meadow",
    "a green tree at night",
    "a blue fish on a plain white background",
    "a yellow star at night",
)


@dataclass
class Ground:
    """What every trial stands on: the bundled model's VAE and text tower, close-ups and latents."""

    sd: bf.pipeline.StableDiffusion
    pictures: closeups.Closeups
    latents: torch.Tensor
    unseen: closeups.Closeups
    unseen_latents: torch.Tensor

    @classmethod
    def load(cls, count: int = 1280, unseen: int = 48) -> "Ground":
        sd, parts = bf.load(device="cpu", dtype=torch.float32), []
        for number, first in ((count, 0), (unseen, 10**6)):
            pictures = closeups.Closeups.of(
                closeups.closeup_scenes(closeups.FEW, number, first=first)
            )
            with torch.no_grad():
                batches = np.array_split(np.arange(number), math.ceil(number / 64))
                latents = torch.cat([sd.vae.encode(pictures.images(b)) for b in batches])
            parts += [pictures, latents]
        return cls(sd, *parts)


@dataclass
class Trial:
    """Settings of one training: those of `recipes.UNetLoss`, and for how long."""

    steps: int = 300
    predict: str = "epsilon"
    weights: str = "clipped_v"
    offset: float = 0.0
    drop: float = 0.1
    constant_rate: bool = False
    averages: tuple[float, ...] = (0.99,)
    channels: tuple[int, ...] = (32, 64)
    batch: int = 16
    losses: list = field(default_factory=list, repr=False)

    def run(self, ground: Ground, looks: Sequence[int] = ()) -> Iterator[tuple[int, dict]]:
        """Train; yields (step, {decay: UNet}) after those steps and at the end; 0: raw weights."""
        torch.manual_seed(0)
        sd = ground.sd
        unet = weights.start_silent(UNet(config(sd, self.channels)))
        options = {"predict": self.predict, "weights": self.weights}
        options |= {"offset": self.offset, "drop": self.drop}
        parts = (unet, sd.text_encoder, ground.latents, ground.pictures)
        options |= {"train_text": False, "batch": self.batch}
        loss = recipes.UNetLoss(*parts, sd.tokenizer, sd.schedule, CPU, **options)
        optimizer = torch.optim.AdamW(unet.parameters(), 1e-3, (0.9, 0.99), fused=True)
        averages, began = [MovingAverage(unet, decay) for decay in self.averages], perf_counter()
        for step in range(self.steps):
            cosine = 0.51 + 0.49 * math.cos(math.pi * step / self.steps)
            rate = min(1, (step + 1) / 50) * (1 if self.constant_rate else cosine)
            optimizer.param_groups[0]["lr"] = 1e-3 * rate
            optimizer.zero_grad()
            value, _ = loss(step, 0.5)
            value.backward()
            torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
            optimizer.step()
            for average in averages:
                average.update(unet, step)
            self.losses.append(value.item())
            if step + 1 in (*looks, self.steps):
                yield step + 1, {0: unet} | {a.decay: averaged(unet, a) for a in averages}
        print(self, f"{perf_counter() - began:.0f} s", flush=True)

    def trained(self, ground: Ground) -> UNet:
        """The averaged weights at the end."""
        *_, (_, nets) = self.run(ground)
        return nets[self.averages[0]]

    def curve(self, points: int = 20) -> list:
        """The loss as so many means."""
        parts = np.array_split(np.array(self.losses), points)
        return [round(float(part.mean()), 4) for part in parts]


def config(sd, channels: tuple[int, ...]) -> UNetConfig:
    width, heads = sd.text_encoder.config.width, tuple(wide // 32 for wide in channels)
    attention = (True,) * len(channels)
    shape = {"sample_size": 8, "channels": channels, "attention": attention, "heads": heads}
    return UNetConfig(**shape, blocks_per_level=1, context_width=width, groups=16)


def averaged(unet: UNet, average: MovingAverage) -> UNet:
    copy = UNet(unet.config)
    copy.load_state_dict(average.weights)
    return copy.eval()


@torch.no_grad()
def errors(ground: Ground, unet: UNet, predict: str = "epsilon", n: int = 48) -> list[float]:
    """Mean squared error of the noise-guess on unseen pictures, at each timestep of BUCKETS."""
    sd, x0, found = ground.sd, ground.unseen_latents[:n], []
    context = sd.encode([scene.caption for scene in ground.unseen.scenes[:n]])
    for t in BUCKETS:
        noise = torch.randn(x0.shape, generator=bf.runtime.generator(int(t)))
        each = t.expand(len(x0))
        x = sd.schedule.add_noise(x0, noise, each)
        eps = eps_of(predict, unet(x, each, context), x, each, sd.schedule)
        found.append(round((eps - noise).square().mean().item(), 5))
    return found


@torch.no_grad()
def draw(ground: Ground, unet: UNet, prompts, predict="epsilon", scale=3.0, seed=0) -> torch.Tensor:
    """One picture a prompt, [B, 3, 64, 64] in [-1, 1], in twelve DDIM steps."""
    sd, n = ground.sd, len(prompts)
    context = torch.cat([sd.encode([""]).expand(n, -1, -1), sd.encode(list(prompts))])
    shape = ground.latents.shape[1:]
    x = torch.stack(
        [torch.randn(shape, generator=bf.runtime.generator(seed + i)) for i in range(n)]
    )

    def eps(x, t):
        both, times = torch.cat([x, x]), torch.full((2 * n,), int(t))
        answer = eps_of(predict, unet(both, times, context), both, times, sd.schedule)
        empty, told = answer.chunk(2)
        return empty + scale * (told - empty)

    *_, last = bf.sample(eps, x, sd.schedule, sampler="ddim", steps=12)
    return sd.vae.decode(last.x).clamp(-1, 1)


def scores(critic: judge.Judge, images: torch.Tensor, scenes) -> dict:
    """In how many pictures the judge sees what was asked for; it is shown them with a wide edge."""
    groups = [{"thing": s.groups[0].thing, "colour": s.groups[0].colour} for s in scenes]
    asked = {"place": None, "relation": None, "style": None}
    labels = [
        {"groups": [g | {"size": None, "count": 1}], "surroundings": s.surroundings, **asked}
        for g, s in zip(groups, scenes)
    ]
    wide = F.pad(images, (32, 32, 32, 32), mode="replicate")
    told = scoring.score_images(critic, wide, labels)
    return {name: told[name][0] for name in ("thing", "colour", "surroundings")} | {
        "of": len(scenes)
    }


def film(images: torch.Tensor, side: int = 64) -> str:
    """Pictures side by side as a JPEG in base64, to be kept in a JSON file."""
    return base64.b64encode(plots.film(bf.pipeline.to_pil(images), side)).decode()


def asked_steps(usual: int) -> int:
    """How long each training is: `--steps` of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=usual)
    return parser.parse_args().steps


def begun(name: str, **settings) -> dict:
    """What an earlier call has measured with these settings, or a new record."""
    command = ["python", f"data/experiments/{name}.py", *sys.argv[1:]]
    told, file = {"command": " ".join(command), **settings}, HERE / f"{name}.json"
    if file.exists():
        before = json.loads(file.read_text("utf-8"))
        if all(before.get(key) == value for key, value in json.loads(json.dumps(told)).items()):
            return before
    return told


def write(name: str, told: dict) -> None:
    (HERE / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")
