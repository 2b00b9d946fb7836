"""How right is a picture, and how good are a VAE and a CLIP? The measures behind `evaluate.py`.

Each works on its own in a notebook; nothing here trains, prints or reads files.
"""

from collections.abc import Sequence
from itertools import count, permutations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from .clip import CLIP
from .judge import Found, Judge, Reading, rounded, through
from .pipeline import StableDiffusion
from .scenes import Scene, World, random_scene
from .tokenizer import Tokenizer
from .vae import VAE

UNSEEN = 20_000_000  # from here on scenes are in nobody's training set
PLACES = {"left": 0.25, "middle": 0.5, "right": 0.75}
ASPECTS = "thing colour size count place surroundings style everything".split()


def wilson(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a rate, honest near 0 and 1 too (Wilson 1927); (0, 1) where n is 0.

    ValueError unless 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} trials: use a number from 0 to {n}")
    if n == 0:
        return 0.0, 1.0
    rate, share = successes / n, z**2 / n
    half = (share * (rate * (1 - rate) + share / 4)) ** 0.5
    low, high = ((rate + share / 2 + side) / (1 + share) for side in (-half, half))
    return max(0.0, low), min(1.0, high)


# ---- what a reading has in common with a caption -------------------------------------------------


def place_of(found: Found) -> str:
    """left, middle or right, whichever is nearest to where single things are drawn."""
    return min(PLACES, key=lambda place: abs(PLACES[place] - found.x))


def relation_of(a: Found, b: Found) -> str:
    """Where a is, seen from b: the direction in which they are further apart."""
    dx, dy = b.x - a.x, b.y - a.y
    if abs(dx) > abs(dy):
        return "left of" if dx > 0 else "right of"
    return "above" if dy > 0 else "below"


def matched(things: Sequence[Found], groups: list[dict]) -> list[list[Found]]:
    """For each group of a caption the found things that stand for it.

    Of all ways to hand out the eight surest, the one that gets most things right and then most
    colours; where several do, the surest come first.
    """
    slots = [i for i, group in enumerate(groups) for _ in range(group["count"])]

    def fit(order: tuple[Found | None, ...]) -> int:
        pairs = [(found, groups[slot]) for found, slot in zip(order, slots) if found]
        return sum(3 * (f.thing == g["thing"]) + (f.colour == g["colour"]) for f, g in pairs)

    nothing = [None] * max(0, len(slots) - len(things))
    best = max(permutations([*things[:8], *nothing], len(slots)), key=fit)
    return [[f for f, slot in zip(best, slots) if f and slot == i] for i in range(len(groups))]


def verdicts(reading: Reading, labels: dict) -> dict[str, list[bool]]:
    """What the picture has right and wrong of all that its caption says, by aspect.

    Thing, colour and size are one verdict a group: something must stand for it, and all of that
    must fit. Place is where a single thing is, or how two stand to each other.
    """
    groups, result = labels["groups"], {aspect: [] for aspect in ASPECTS}
    stand_ins = matched(reading.things, groups)
    for group, found in zip(groups, stand_ins):
        for aspect in ("thing", "colour", "size"):
            if group[aspect]:
                fits = [getattr(one, aspect) == group[aspect] for one in found]
                result[aspect].append(any(fits) and all(fits))
    result["count"].append(len(reading.things) == sum(group["count"] for group in groups))
    if labels["place"]:
        result["place"].append(any(place_of(one) == labels["place"] for one in stand_ins[0]))
    if labels["relation"]:
        both = all(stand_ins) and relation_of(stand_ins[0][0], stand_ins[1][0])
        result["place"].append(both == labels["relation"])
    for aspect in ("surroundings", "style"):
        if labels[aspect]:
            result[aspect].append(getattr(reading, aspect) == labels[aspect])
    result["everything"].append(all(right for several in result.values() for right in several))
    return result


def tally(readings: Sequence[Reading], labels: Sequence[dict]) -> dict[str, tuple[int, int]]:
    """(right, said) for every aspect, over all pictures."""
    each = [verdicts(*pair) for pair in zip(readings, labels, strict=True)]
    pooled = {aspect: sum((one[aspect] for one in each), []) for aspect in ASPECTS}
    return {aspect: (sum(rights), len(rights)) for aspect, rights in pooled.items()}


def score_images(
    judge: Judge, images: Tensor, labels: Sequence[dict]
) -> dict[str, tuple[int, int]]:
    """(right, said) by aspect, of images [B, 3, H, W] in [-1, 1] and the labels of their scenes."""
    return tally(judge.read(images), labels)


# ---- what is measured ----------------------------------------------------------------------------


def unseen_scenes(world: World, split: str, n: int) -> list[Scene]:
    """n scenes from beyond every training set, no two with the same caption."""
    scenes: dict[str, Scene] = {}
    for index in count(UNSEEN):
        if len(scenes) == n:
            return list(scenes.values())
        scene = random_scene(index, world, split)
        scenes.setdefault(scene.caption, scene)


def drawings(scenes: Sequence[Scene], size: int = 128) -> Tensor:
    """The scenes as they are drawn, [B, 3, size, size] in [-1, 1]."""
    pixels = torch.from_numpy(np.stack([np.asarray(scene.draw(size)) for scene in scenes]))
    return pixels.permute(0, 3, 1, 2) / 127.5 - 1


@torch.no_grad()
def generate(sd: StableDiffusion, prompts: list[str], seed: int = 0, **options) -> Tensor:
    """One picture a prompt, [B, 3, H, W] in [-1, 1], seeds counting up; options: `sd.sample`'s."""
    images = []
    for start in tqdm(range(0, len(prompts), 16), "pictures", leave=False):
        *_, last = sd.sample(prompts[start : start + 16], seed=seed + start, **options)
        images.append(rounded(sd.vae.decode(last.x)))
    return torch.cat(images)


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of two pictures' pixels, on the scale from 0 to 255."""
    one, other = (np.asarray(picture, dtype=np.float32) for picture in (one, other))
    return float(np.abs(one - other).mean())


def psnr(squared_error: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of mean squared errors between images in [-1, 1]."""
    return 10 * torch.log10(4 / squared_error)


def squared_errors(vae: VAE, images: Tensor) -> Tensor:
    """Mean squared error [B] of each image in [-1, 1] after a trip through the VAE."""
    return (through(vae, images) - images).square().mean(dim=(1, 2, 3))


def vae_psnr(errors: Tensor) -> tuple[float, float]:
    """The mean of the PSNRs of squared errors [B], and the PSNR of their mean, which is lower."""
    return psnr(errors).mean().item(), psnr(errors.mean()).item()


def retrieved(similarity: Tensor) -> int:
    """How many rows of a matrix [B, B] are largest on the diagonal, ties not counted."""
    return int(((similarity >= similarity.diagonal()[:, None]).sum(dim=1) == 1).sum())


@torch.no_grad()
def clip_retrieval(clip: CLIP, tokenizer: Tokenizer, images: Tensor, captions: list[str]) -> int:
    """How many of B images find their own caption among all B, no two of which may be the same."""
    device = clip.logit_scale.device
    texts = [clip.embed_text(ids.to(device)) for ids in tokenizer(captions).split(64)]
    pictures = [clip.embed_image(batch.to(device)) for batch in images.split(64)]
    return retrieved(clip.similarity(torch.cat(pictures), torch.cat(texts)))
