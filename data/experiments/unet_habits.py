"""Three habits of training a UNet: leave out captions, average the weights, shift the noise.

python data/experiments/unet_habits.py --steps 250     # five minutes on one core
"""

import torch
from unet_trial import SHOWN, Ground, Trial, asked_steps, begun, draw, errors, film, scores, write

from boringfusion_lite import closeups, judge

ASKED, SCALES, DECAYS, EVERY = 48, (1.0, 3.0, 7.0), (0.9, 0.99, 0.999), 50


def dropout(ground: Ground, critic: judge.Judge, unet) -> dict:
    """What the judge sees at each guidance scale."""
    scenes = closeups.closeup_scenes(closeups.FEW, ASKED, first=2 * 10**6)
    prompts, told = [scene.caption for scene in scenes], {}
    for scale in SCALES:
        images = draw(ground, unet, prompts, scale=scale)
        told[scale] = scores(critic, images, scenes)
        told[scale]["pictures"] = film(draw(ground, unet, SHOWN, scale=scale))
        told[scale]["clipped"] = round((images.abs() > 0.999).float().mean().item(), 4)
        print(scale, {k: v for k, v in told[scale].items() if k != "pictures"}, flush=True)
    return told


def brightness(ground: Ground, unet) -> dict:
    """Mean of each picture, -1 to 1, of one thing in the darkest and the brightest surroundings."""
    told = {}
    for around in ("at night", "on a plain white background"):
        images = draw(ground, unet, [f"a blue tree {around}"] * 16, seed=100)
        told[around] = [round(m, 3) for m in images.mean(dim=(1, 2, 3)).tolist()]
    return told


def real_brightness(ground: Ground) -> dict:
    names = {"at night": "at night", "plain white": "on a plain white background"}
    images = ground.pictures.images(range(len(ground.pictures))).mean(dim=(1, 2, 3))
    around = [scene.surroundings for scene in ground.pictures.scenes]
    means = {}
    for name, said in names.items():
        rows = torch.tensor([a == name for a in around])
        means[said] = round(images[rows].mean().item(), 3)
    return means


def averages(ground: Ground, steps: int) -> dict:
    """Errors of the raw and of the averaged weights while a UNet learns at a constant rate."""
    trial, rows = Trial(steps, constant_rate=True, averages=DECAYS), []
    for step, nets in trial.run(ground, range(EVERY, steps, EVERY)):
        rows.append([step, *(sum(errors(ground, net, n=24)) / 10 for net in nets.values())])
        print(rows[-1], flush=True)
    return {"columns": ["step", "raw", *map(str, DECAYS)], "rows": rows}


def measured(part: str, ground: Ground, critic: judge.Judge, steps: int, told: dict) -> None:
    """One part of the experiment, written into the record."""
    if part == "averages":
        told["averages"] = averages(ground, steps)
    elif part == "offset 0.1":
        unet = Trial(steps, offset=0.1).trained(ground)
        told["offset"][part] = brightness(ground, unet)
    else:
        unet = Trial(steps, drop=0.1 if part == "10 % left out" else 0.0).trained(ground)
        told["dropout"][part] = dropout(ground, critic, unet)
        if part == "10 % left out":
            told["offset"]["plain noise"] = brightness(ground, unet)


if __name__ == "__main__":
    steps = asked_steps(600)
    ground, critic = Ground.load(), judge.load_judge()
    few = closeups.Closeups.of(closeups.closeup_scenes(closeups.FEW, ASKED, first=2 * 10**6))
    told = begun("unet_habits", steps=steps, prompts=SHOWN, asked=ASKED)
    told.setdefault("judge on drawings", scores(critic, few.images(range(ASKED)), few.scenes))
    told.setdefault("dropout", {})
    told.setdefault("offset", {"drawings": real_brightness(ground)})
    for part in ("10 % left out", "none left out", "offset 0.1", "averages"):
        if part not in (*told, *told["dropout"], *told["offset"]):
            measured(part, ground, critic, steps, told)
            write("unet_habits", told)
