"""How good is it? Scores for each part of a model on scenes that it has never seen.

    python -m boringfusion_lite.evaluate                 # prints a table, writes scores.json

A judge (`judge.py`) looks at the pictures, and what it finds is compared with what their captions
say. It is examined first, on drawings of the same scenes and on what the VAE makes of them: the
rates there are also the highest that the model can reach.
"""

import argparse
import time
from collections.abc import Sequence
from itertools import count, groupby, permutations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from .checkpoint import load, load_clip
from .clip import CLIP
from .judge import Found, Judge, Reading, load_judge, rounded, through
from .pipeline import StableDiffusion
from .runtime import model_folder
from .saving import write_json
from .scenes import Scene, World, random_scene
from .tokenizer import Tokenizer
from .vae import VAE

UNSEEN = 20_000_000  # from here on scenes are in nobody's training set
TRUSTED = 0.97  # share of things and of colours that a judge must get right
PLACES = {"left": 0.25, "middle": 0.5, "right": 0.75}
PARTS = "image", "vae", "clip"
ASPECTS = "thing colour size count place surroundings style everything".split()
JUDGED = "judge: drawings", "judge: drawings through the VAE"
SPLITS = {"train": "pictures", "held-out": "pictures of pairs never trained"}
GOALS = {  # for the first release, in the end
    **{(part, aspect): (TRUSTED, 0.98) for part in JUDGED for aspect in ("thing", "colour")},
    ("vae", "PSNR, mean of all"): (26, 32),
    ("clip", "caption found among 256"): (0.85, 0.98),
    **{("pictures", aspect): (0.85, 0.98) for aspect in ("thing", "colour")},
    **{("pictures", aspect): (0.80, 0.98) for aspect in ("style", "surroundings")},
    ("pictures", "place"): (0.75, 0.95),
    ("pictures", "everything"): (0.55, 0.90),
    (SPLITS["held-out"], "everything"): (0.40, 0.85),
}
NOTES = """Chance: the same pictures held against other captions; for PSNR, against one colour.
Every picture has a caption of its own; in a search among captions, a tie is a miss."""


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


# ---- the table -----------------------------------------------------------------------------------


def row(part: str, score: str, value, interval, n: int, chance, unit: str = "%") -> dict:
    """One line of the table with its goals: shares from 0 to 1 where the unit is %, else dB."""
    first, goal = GOALS.get((part, score), (None, None))
    numbers = {"value": value, "interval": interval, "n": n, "chance": chance}
    return {"part": part, "score": score, "unit": unit, **numbers, "first": first, "goal": goal}


def aspect_rows(part: str, readings: list[Reading], labels: list[dict]) -> list[dict]:
    """What share of every aspect is right; chance: by the captions of ten other pictures."""
    others = [tally(readings, labels[k:] + labels[:k]) for k in range(1, min(11, len(labels)))]
    rows = []
    for aspect, (right, said) in tally(readings, labels).items():
        lucky, tries = (sum(other[aspect][i] for other in others) for i in (0, 1))
        rate, chance = right / said if said else None, lucky / tries if tries else None
        rows.append(row(part, aspect, rate, wilson(right, said), said, chance))
    return rows


def vae_rows(vae: VAE, images: Tensor, styles: list[str]) -> list[dict]:
    """PSNR of all images and of those in each style; chance: that of their mean colours."""
    errors, rows = squared_errors(vae, images), []
    plain = images.var(dim=(2, 3), correction=0).mean(dim=1)
    for style in ["all", *sorted(set(styles))]:
        chosen = torch.tensor([style in ("all", one) for one in styles])
        (mean, pooled), (mean0, pooled0) = vae_psnr(errors[chosen]), vae_psnr(plain[chosen])
        n = int(chosen.sum())
        half = 1.96 * psnr(errors[chosen]).std(correction=0).item() / n**0.5
        interval = mean - half, mean + half
        rows.append(row("vae", f"PSNR, mean of {style}", mean, interval, n, mean0, "dB"))
        rows.append(row("vae", f"PSNR of the mean error, {style}", pooled, None, n, pooled0, "dB"))
    return rows


def clip_rows(clip: CLIP, tokenizer: Tokenizer, images: Tensor, captions: list[str]) -> list[dict]:
    """How often an image finds its own caption among all of them."""
    found, n = clip_retrieval(clip, tokenizer, images, captions), len(captions)
    score = f"caption found among {n}"
    return [row("clip", score, found / n, wilson(found, n), n, 1 / n)]


def image_rows(sd: StableDiffusion, judge: Judge, n: int, **options) -> list[dict]:
    """The judge's own scores, then those of n pictures of each split; options: `generate`'s."""
    scenes = [scene for split in SPLITS for scene in unseen_scenes(judge.world, split, n)]
    labels, drawn = [scene.labels for scene in scenes], drawings(scenes, sd.image_size)
    rows = aspect_rows(JUDGED[0], judge.read(drawn), labels)
    rows += aspect_rows(JUDGED[1], judge.read(through(sd.vae, drawn)), labels)
    readings = judge.read(generate(sd, [scene.caption for scene in scenes], **options))
    rows += aspect_rows(SPLITS["train"], readings[:n], labels[:n])
    return rows + aspect_rows(SPLITS["held-out"], readings[n:], labels[n:])


def trust(rows: list[dict]) -> str:
    """Whether the judge may be believed, in a sentence."""
    own = [one for one in rows if one["part"] in JUDGED and one["score"] in ("thing", "colour")]
    if not own:
        return "No judge was asked."
    rate = f"{100 * min(one['value'] for one in own):.1f} % of things and of colours right"
    if min(one["value"] for one in own) < TRUSTED:
        return f"No judge: only {rate} ({TRUSTED:.0%} needed). Its verdicts mean nothing."
    return f"The judge has at least {rate} ({TRUSTED:.0%} needed)."


def shown(value: float | None, unit: str) -> str:
    """A number of the table: shares in per cent, one decimal."""
    return "-" if value is None else f"{value * (100 if unit == '%' else 1):.1f}"


def format_table(scores: dict) -> str:
    """What `evaluate` returned as aligned plain text, a paragraph a part."""
    head = "score", "95 % interval", "n", "chance", "first", "goal"
    form = "{:46}{:>7}{:>16}{:>6}{:>9}{:>7}{:>7}"
    lines = [form.format("", *head)]
    for part, rows in groupby(scores["rows"], key=lambda one: one["part"]):
        lines += ["", part]
        for one in rows:
            keys = "value", "chance", "first", "goal"
            value, *rest = (shown(one[key], one["unit"]) for key in keys)
            interval = " to ".join(shown(end, one["unit"]) for end in one["interval"] or [None])
            name = f"  {one['score']}, {one['unit']}"
            lines.append(form.format(name, value, interval, one["n"], *rest))
    return "\n".join([*lines, "", scores["judge"], NOTES])


def evaluate(
    folder: Path, parts: Sequence[str] = PARTS, images: int = 200, device=None, **options
) -> dict:
    """Score the model in a folder; options: `generate`'s. What `format_table` and JSON take."""
    began, sd, rows = time.monotonic(), load(folder, device=device), []
    judge = load_judge(folder / "judge").to(sd.device)
    scenes = unseen_scenes(judge.world, "train", max(images, 256))
    if "image" in parts:
        rows += image_rows(sd, judge, images, **options)
    if "vae" in parts:
        chosen = scenes[:images]
        styles = [scene.style for scene in chosen]
        rows += vae_rows(sd.vae, drawings(chosen, sd.image_size), styles)
    if "clip" in parts:
        clip, captions = load_clip(folder).to(sd.device), [scene.caption for scene in scenes[:256]]
        drawn = drawings(scenes[:256], clip.config.image.image_size)
        rows += clip_rows(clip, sd.tokenizer, drawn, captions)
    settings = {"images": images, **options, "device": str(sd.device), "torch": torch.__version__}
    settings["seconds"] = round(time.monotonic() - began)
    return {"settings": settings, "judge": trust(rows), "rows": rows}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m boringfusion_lite.evaluate",
        description="Score the parts of a model on scenes that it has never seen.",
    )
    add = parser.add_argument
    add("--images", type=int, default=200, help="scenes of each kind (%(default)s)")
    add("--steps", type=int, default=20, help="denoising steps (%(default)s)")
    add("--guidance", type=float, default=7.5, help="strength of the prompt (%(default)s)")
    add("--sampler", default="ddim", help="how to denoise (%(default)s)")
    add("--seed", type=int, default=0, help="of the first picture (%(default)s)")
    add("--parts", default=",".join(PARTS), help="what to score (%(default)s)")
    add("--model", type=Path, help="a model folder (the bundled Tiny SD)")
    add("--device", help="cpu, cuda or mps (the best there is)")
    add("--output", type=Path, help="where to write (scores.json beside all parts of the model)")
    args = parser.parse_args(arguments)
    args.parts = args.parts.split(",")
    if args.images < 1:
        parser.error("--images must be at least 1")
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"unknown parts {', '.join(sorted(unknown))}: use some of {', '.join(PARTS)}")
    return args


def main(arguments: list[str] | None = None) -> None:
    """Score a model from the command line; the file is written where nothing was left out."""
    args = parse(arguments)
    folder, options = args.model or model_folder(), {"steps": args.steps, "seed": args.seed}
    options |= {"guidance_scale": args.guidance, "sampler": args.sampler}
    scores = evaluate(folder, args.parts, args.images, args.device, **options)
    print(format_table(scores))
    if args.output or set(args.parts) == set(PARTS):
        write_json(args.output or folder / "scores.json", scores)


if __name__ == "__main__":
    main()
