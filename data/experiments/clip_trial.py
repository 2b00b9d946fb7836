"""One small CLIP trained for a number of steps and scored: what the clip_*.py experiments share."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F

from boringfusion_lite import dataset, recipes, scenes, scoring, weights
from boringfusion_lite.clip import CLIP, CLIPConfig, ImageConfig, TextConfig, contrastive_loss
from boringfusion_lite.dataset import Pictures, shuffled
from boringfusion_lite.tokenizer import Tokenizer

HERE = Path(__file__).parent
WORLD = replace(scenes.STARTER, styles=("flat drawing",))
SIZE, PICTURES, UNSEEN, BATCH = 64, 4096, 256, 128
CONFIG = CLIPConfig(
    text=TextConfig(width=64, layers=2, heads=2),
    image=ImageConfig(image_size=SIZE, patch=8, width=64, layers=2, heads=2),
    joint_width=64,
)


@dataclass
class Trial:
    """Settings of one training.

    groups: into how many parts the 128 pairs of a step are cut, each with a contrastive loss of its
    own; temperature: a fixed one, or None for one that is learned from 0.07 on; swapped: whether a
    picture also sees a caption that is nearly right.
    """

    steps: int = 100
    groups: int = 1
    temperature: float | None = None
    swapped: bool = False
    seed: int = 0

    def run(self, watch: Callable = lambda step, clip: None) -> dict:
        """Train, then what came of it; `watch(step, clip)` is called before every step."""
        torch.manual_seed(self.seed)
        clip, tokenizer = weights.start_quiet(CLIP(CONFIG)), Tokenizer.load()
        began = perf_counter()
        if self.temperature is not None:
            clip.logit_scale.data.fill_(-math.log(self.temperature))
            clip.logit_scale.requires_grad_(False)
        pictures = Pictures.drawn(WORLD, PICTURES, Path("runs"), size=SIZE)
        learned = [p for p in clip.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(learned, lr=3e-3, betas=(0.9, 0.99), fused=True)
        losses = []
        for step in range(self.steps):
            rate = min(1, (step + 1) / 30) * (0.51 + 0.49 * math.cos(math.pi * step / self.steps))
            optimizer.param_groups[0]["lr"] = 3e-3 * rate
            watch(step, clip)
            optimizer.zero_grad()
            loss = self.loss(clip, tokenizer, pictures, step)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learned, 1.0)
            optimizer.step()
            clip.logit_scale.data.clamp_(max=math.log(100))
            losses.append(round(loss.item(), 4))
        watch(self.steps, clip)
        told = {"loss": losses, "seconds": round(perf_counter() - began, 1)}
        told["temperature"] = round(1 / clip.logit_scale.exp().item(), 4)
        print(self, f"{told['seconds']} s", end="  ", flush=True)
        return told | score(clip, tokenizer)

    def loss(self, clip, tokenizer, pictures, step):
        indices = shuffled(len(pictures), BATCH, step, self.seed)
        captions = pictures.captions(indices, step)
        if self.swapped:
            captions += pictures.near_captions(indices, step)
        with recipes.mixed_precision(torch.device("cpu")):
            texts = clip.embed_text(recipes.cropped(tokenizer(captions))).float()
            images = clip.embed_image(pictures.images(indices)).float()
        texts, near = texts[:BATCH], texts[BATCH:]
        parts = zip(images.chunk(self.groups), texts.chunk(self.groups))
        loss = sum(contrastive_loss(clip.similarity(*part)) for part in parts) / self.groups
        if self.swapped:
            wrong = clip.logit_scale.exp() * (images * near).sum(dim=1, keepdim=True)
            hard = torch.cat([clip.similarity(images, texts), wrong], dim=1)
            loss = (loss + F.cross_entropy(hard, torch.arange(BATCH))) / 2
        return loss


@torch.no_grad()
def score(clip: CLIP, tokenizer: Tokenizer) -> dict:
    """Of 256 unseen pictures: how many find their caption among all 256; how many prefer it to one
    with a fact wrong, and to one in which two things have exchanged their colours or places."""
    unseen = scoring.unseen_scenes(WORLD, "train", UNSEEN)
    images = clip.embed_image(scoring.drawings(unseen, SIZE))
    rng = np.random.default_rng(0)
    wrong = [dataset.nearly_right(s, WORLD, rng, s.seed) for s in unseen]
    true, near = (
        clip.embed_text(tokenizer(captions))
        for captions in ([scene.caption for scene in unseen], wrong)
    )
    prefers = (images * true).sum(dim=1) > (images * near).sum(dim=1)
    two = torch.tensor([len(scene.groups) == 2 for scene in unseen])
    found = scoring.retrieved(clip.similarity(images, true))
    told = {"found": found, "of": UNSEEN, "prefers": int(prefers.sum())}
    told |= {"prefers, two things": int(prefers[two].sum()), "two things": int(two.sum())}
    print(told, flush=True)
    return told


def write(name: str, arms: dict[str, Trial], watch: Callable = lambda step, clip: None) -> None:
    """Run the arms of an experiment that `name`.json does not hold yet; it is written after each.

    watch: see `Trial.run`; it sees the last arm.
    """
    file = HERE / f"{name}.json"
    told = json.loads(file.read_text("utf-8")) if file.exists() else {"arms": []}
    done = {(arm["name"], arm["steps"]): arm for arm in told["arms"]}
    told = {"command": f"python data/experiments/{name}.py", "batch": BATCH, "arms": []}
    for arm, trial in arms.items():
        if (arm, trial.steps) not in done:
            last = arm == list(arms)[-1]
            result = trial.run(watch) if last else trial.run()
            parts = np.array_split(result["loss"], 50)
            result["loss"] = [round(float(np.mean(part)), 3) for part in parts]
            result |= {"name": arm, "samples": BATCH * trial.steps, **vars(trial)}
            done[arm, trial.steps] = result
        told["arms"].append(done[arm, trial.steps])
        file.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
