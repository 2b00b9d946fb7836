"""Measure how scores depend on steps, guidance and sampler, and what pictures look like as points.

    python data/measure_sweeps.py                # writes data/sweeps.json and .safetensors

It says how long before it begins. Every setting draws the same captions with the same seeds, half
of them with a pair that was never trained. Called again, it goes on where it was stopped. Notebook
12 draws the files.
"""

import argparse
import json
import time
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

import boringfusion_lite as bf
from boringfusion_lite import sweeps
from boringfusion_lite.clip import CLIP
from boringfusion_lite.clip_score import clip_scores
from boringfusion_lite.features import clip_features, in_bytes, judge_features, thumbnails
from boringfusion_lite.frechet import frechet_distance
from boringfusion_lite.judge import Judge, load_judge, through
from boringfusion_lite.manifold import precision_recall, spread
from boringfusion_lite.pipeline import StableDiffusion
from boringfusion_lite.resampling import bootstrap
from boringfusion_lite.saving import replace_file
from boringfusion_lite.scenes import Scene, held_out
from boringfusion_lite.scoring import ASPECTS, drawings, generate, unseen_scenes, verdicts
from boringfusion_lite.weights import fingerprint

STEPS, SCALES = (5, 10, 20, 50), (1, 1.5, 2, 3, 5, 7.5, 12)
CALLS_10 = {"ddim": 10, "euler_a": 10, "heun": 5, "dpmpp_2m": 10, "unipc": 10}  # steps
GENTLE = 3  # guidance at which ten calls are enough to compare samplers
SPLITS = "train", "held-out"
PROMPTS, SEEDS = 12, 4  # at most so many prompts, with so many seeds each, for the spread
BASE = {"steps": 20, "guidance": 7.5, "sampler": "ddim"}


def settings_of_all() -> list[dict]:
    """Every setting once, the usual one first."""
    wanted = [BASE]
    wanted += [BASE | {"steps": steps} for steps in STEPS]
    wanted += [BASE | {"guidance": scale} for scale in SCALES]
    gentle = BASE | {"guidance": GENTLE}
    wanted += [gentle | {"steps": steps, "sampler": name} for name, steps in CALLS_10.items()]
    return [one for i, one in enumerate(wanted) if one not in wanted[:i]]


def calls(setting: dict) -> int:
    """How often one picture asks the UNet, a guided answer counted as one."""
    return 2 * setting["steps"] - 1 if setting["sampler"] == "heun" else setting["steps"]


def options(setting: dict) -> dict:
    return {
        "steps": setting["steps"],
        "guidance_scale": setting["guidance"],
        "sampler": setting["sampler"],
    }


@dataclass
class Bench:
    """The models, what they are asked to draw, and how many pictures each measurement takes."""

    sd: StableDiffusion
    clip: CLIP
    judge: Judge
    pictures: int  # of each split, at every setting
    more: int  # at the usual setting, for the points
    real: int  # unseen drawings to compare with

    @cached_property
    def scenes(self) -> list[Scene]:
        """Half of them with trained pairs only, half with one that never was."""
        return sum((unseen_scenes(self.judge.world, name, self.pictures) for name in SPLITS), [])

    def other_scenes(self, skip: int, n: int) -> list[Scene]:
        """Unseen scenes beyond those, and beyond `skip` more, as many of each split in turn."""
        first, half = self.pictures + skip // 2, n // 2
        each = [unseen_scenes(self.judge.world, name, first + half)[first:] for name in SPLITS]
        return [scene for pair in zip(*each) for scene in pair]

    @cached_property
    def own_prompts(self) -> list[str]:
        """Short prompts, which leave most to the seed."""
        world, found = self.judge.world, []
        for i, thing in enumerate(world.things[: min(PROMPTS, self.pictures // 2)]):
            trained = [colour for colour in world.colours if not held_out(thing, colour)]
            found.append(f"a {trained[i % len(trained)]} {thing}")
        return found

    def as_points(self, images: Tensor) -> dict[str, Tensor]:
        return {
            "judge": judge_features(self.judge, images).half(),
            "clip": clip_features(self.clip, images).half(),
            "thumbnails": in_bytes(thumbnails(images)),
        }


def stored_features(bench: Bench) -> dict[str, Tensor]:
    """Points of new drawings, those through the VAE, our pictures: {"real/judge": [N, D], ...}."""
    size, found = bench.sd.image_size, {}
    ours = bench.other_scenes(0, bench.more)
    real = drawings(bench.other_scenes(bench.more, bench.real), size)
    sources = {
        "real": lambda: real,
        "vae": partial(through, bench.sd.vae, real[: bench.more]),
        "ours": partial(
            generate, bench.sd, [scene.caption for scene in ours], seed=10_000, **options(BASE)
        ),
    }
    for source, make in sources.items():
        found |= {f"{source}/{kind}": held for kind, held in bench.as_points(make()).items()}
    return found


def added_up(said: list[dict]) -> dict[str, list[int]]:
    """[right, said] of every aspect, over the verdicts on some pictures."""
    pooled = {aspect: sum((one[aspect] for one in said), []) for aspect in ASPECTS}
    return {aspect: [sum(rights), len(rights)] for aspect, rights in pooled.items()}


def measured(bench: Bench, images: Tensor, real: Tensor) -> dict:
    """Every score of the pictures of all the bench's scenes; real: judge's features [N, D]."""
    readings, scenes, n = bench.judge.read(images), bench.scenes, bench.pictures
    said = [verdicts(*pair) for pair in zip(readings, (scene.labels for scene in scenes))]
    of = {"train": said[:n], "held-out": said[n:]}
    counts = {split: added_up(each) for split, each in of.items()}
    agreement = clip_scores(
        bench.clip, bench.sd.tokenizer, images, [scene.caption for scene in scenes]
    )
    points = judge_features(bench.judge, images)
    precision, recall = precision_recall(real, points)
    return {
        "counts": counts,
        "right": "".join(str(int(all(one["everything"]))) for one in said),
        "clip": [round(x, 4) for x in (agreement.mean().item(), *bootstrap(agreement))],
        "frechet": round(frechet_distance(real, points), 3),
        "precision": round(precision, 3),
        "recall": round(recall, 3),
    }


def point(bench: Bench, setting: dict, real: Tensor, unit: float) -> dict:
    """All scores at one setting; the spread of seeds only where the guidance varies."""
    began, captions = time.monotonic(), [scene.caption for scene in bench.scenes]
    images = generate(bench.sd, captions, **options(setting))
    found = {**setting, "calls": calls(setting), **measured(bench, images, real)}
    if setting in (BASE | {"guidance": scale} for scale in SCALES):
        prompts = [prompt for prompt in bench.own_prompts for _ in range(SEEDS)]
        images = generate(bench.sd, prompts, **options(setting))
        points = judge_features(bench.judge, images).unflatten(0, (-1, SEEDS))
        each = torch.tensor([spread(one[None]) for one in points]) / unit
        found["spread"] = [round(x, 4) for x in (each.mean().item(), *bootstrap(each))]
    return found | {"seconds": round(time.monotonic() - began, 1)}


def estimate(bench: Bench) -> float:
    """Minutes that all of it takes, from one batch of one step."""
    prompts = [scene.caption for scene in bench.scenes[:16]]
    generate(bench.sd, prompts, steps=1)
    began = time.monotonic()
    generate(bench.sd, prompts, steps=6)
    each = (time.monotonic() - began) / len(prompts) / 6
    work = sum(2 * bench.pictures * calls(one) for one in settings_of_all())
    work += bench.more * BASE["steps"] + len(bench.own_prompts) * SEEDS * BASE["steps"] * len(
        SCALES
    )
    return (each * work + 0.02 * bench.real) / 60


def begin(bench: Bench, file: Path, settings: dict) -> dict:
    """What an earlier call left, if it measured the same; else a new beginning."""
    tensors = file.with_suffix(".safetensors")
    if file.is_file() and tensors.is_file():
        held = sweeps.load_sweeps(file)
        same = all(held.settings.get(name) == value for name, value in settings.items())
        if same:
            print(f"{file.name}: {len(held.points)} points are there, going on")
            return {"settings": held.settings, "facts": held.facts, "points": held.points}
    print(f"about {estimate(bench):.0f} minutes")
    features = stored_features(bench)
    replace_file(tensors, features, {"unet": str(settings["unet"])})
    real = features["real/judge"].float()
    unit = spread(real[None])
    drawn = measured(bench, drawings(bench.scenes, bench.sd.image_size), real)
    return {"settings": settings, "facts": {"spread unit": unit, "drawings": drawn}, "points": []}


def write(file: Path, state: dict) -> None:
    """JSON with a line for each point, in place of the old file only when it is whole."""
    lines = ",\n".join(json.dumps(one) for one in state["points"])
    head = ",\n".join(f'"{name}": {json.dumps(state[name])}' for name in ("settings", "facts"))
    half = file.with_suffix(".partial")
    half.write_text(f'{{\n{head},\n"points": [\n{lines}\n]\n}}\n', encoding="utf-8")
    half.replace(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--output", type=Path, default=sweeps.FILE, help="where to write (%(default)s)")
    add("--pictures", type=int, default=40, help="of each split at a setting (%(default)s)")
    add("--more", type=int, default=160, help="at the usual setting, as points (%(default)s)")
    add("--real", type=int, default=480, help="drawings to compare with (%(default)s)")
    add("--device", help="cpu, cuda or mps (the best there is)")
    args = parser.parse_args()
    sizes = {name: getattr(args, name) for name in ("pictures", "more", "real")}
    sd = bf.load(device=args.device)
    bench = Bench(sd, bf.load_clip().to(sd.device), load_judge().to(sd.device), **sizes)
    parts = {"unet": sd.unet, "clip": bench.clip, "vae": sd.vae}
    networks = {name: fingerprint(part) for name, part in parts.items()}
    settings = {**sizes, **networks, "torch": torch.__version__}
    state = begin(bench, args.output, settings)
    write(args.output, state)
    real = load_file(args.output.with_suffix(".safetensors"))["real/judge"].float()
    done = [{name: one[name] for name in BASE} for one in state["points"]]
    for setting in tqdm([one for one in settings_of_all() if one not in done], "settings"):
        state["points"].append(point(bench, setting, real, state["facts"]["spread unit"]))
        write(args.output, state)
    minutes = sum(one["seconds"] for one in state["points"]) / 60
    print(f"{args.output.name}: {len(state['points'])} settings in {minutes:.1f} minutes")


if __name__ == "__main__":
    main()
