"""How good is it? Scores for each part of a model on scenes that it has never seen.

    python -m boringfusion_lite.evaluate                 # prints a table, writes scores.json

A judge (`judge.py`) looks at the pictures, and what it finds is compared with what their captions
say. It is examined first, on drawings of the same scenes and on what the VAE makes of them: the
rates there are also the highest that the model can reach.
"""

import argparse
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from .checkpoint import load, load_clip
from .clip import CLIP
from .judge import Judge, Reading, load_judge, through
from .pipeline import StableDiffusion
from .runtime import model_folder
from .saving import write_json
from .scoring import (
    clip_retrieval,
    drawings,
    generate,
    psnr,
    squared_errors,
    tally,
    unseen_scenes,
    vae_psnr,
    wilson,
)
from .tokenizer import Tokenizer
from .vae import VAE

TRUSTED = 0.97  # share of things and of colours that a judge must get right
PARTS = "image", "vae", "clip"
JUDGED = "judge: drawings", "judge: drawings through the VAE"
SPLITS = {"train": "pictures", "held-out": "pictures of pairs never trained"}
GOALS = {  # for the first release, in the end
    **{(JUDGED[0], aspect): (TRUSTED, 0.98) for aspect in ("thing", "colour")},
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
    """Whether the judge may be believed, in a sentence; what the VAE blurs is not its fault."""
    own = [one for one in rows if one["part"] == JUDGED[0] and one["score"] in ("thing", "colour")]
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
    folder: Path,
    parts: Sequence[str] = PARTS,
    images: int = 200,
    *,
    device: str | None = None,
    judge_folder: Path | None = None,
    **options,
) -> dict:
    """Score the model in a folder; options: `generate`'s. What `format_table` and JSON take.

    The judge is the bundled one where no folder is given; its world is the one that is scored.
    """
    began, sd, rows = time.monotonic(), load(folder, device=device), []
    judge = load_judge(judge_folder).to(sd.device)
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
    add("--judge", type=Path, help="a judge's folder (the bundled judge)")
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
    options |= {"device": args.device, "judge_folder": args.judge}
    scores = evaluate(folder, args.parts, args.images, **options)
    print(format_table(scores))
    if args.output or set(args.parts) == set(PARTS):
        write_json(args.output or folder / "scores.json", scores)


if __name__ == "__main__":
    main()
