"""Measure what emphasis does: how often a picture shows what the emphasised word names.

    python data/measure_emphasis.py              # writes data/emphasis.json, minutes on two cores

Three kinds of words (a colour, the surroundings, a thing), three methods (`prompts.EMPHASIS`) and
weights from -1 to 5. Every point is 16 pictures, four prompts with four seeds each, and the judge's
answer to two questions: does the picture show what the word names, and is the rest of the prompt
still right? And four paths for whole prompts: all rows scaled, their mean scaled, from one prompt
to another, and through the empty prompt to the other side. Notebook 02 draws the file.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from tqdm import tqdm

import boringfusion_lite as bf
from boringfusion_lite.judge import Judge, Reading, load_judge, rounded
from boringfusion_lite.prompts import EMPHASIS, emphasise, mix, scale, scale_mean
from boringfusion_lite.scoring import wilson
from boringfusion_lite.weights import fingerprint

WEIGHTS = -1, 0, 0.5, 1, 1.5, 2, 3, 5
CASES = {  # prompt with a gap for the weight, what the word names, something else it asks for
    "colour": [
        ("a (red:{}) house in a meadow, flat drawing", "red", "in a meadow"),
        ("a (yellow:{}) car in the snow, flat drawing", "yellow", "in the snow"),
        ("a (green:{}) boat at sunset, flat drawing", "green", "at sunset"),
        ("a (blue:{}) cat on plain white, flat drawing", "blue", "plain white"),
    ],
    "surroundings": [
        ("a red house (at night:{}), flat drawing", "at night", "red"),
        ("a yellow car (in the snow:{}), flat drawing", "in the snow", "yellow"),
        ("a green boat (at sunset:{}), flat drawing", "at sunset", "green"),
        ("a blue cat (in a meadow:{}), flat drawing", "in a meadow", "blue"),
    ],
    "thing": [
        ("a red (house:{}) in a meadow, flat drawing", "house", "in a meadow"),
        ("a yellow (car:{}) in the snow, flat drawing", "car", "in the snow"),
        ("a green (boat:{}) at sunset, flat drawing", "boat", "at sunset"),
        ("a blue (star:{}) on plain white, flat drawing", "star", "plain white"),
    ],
}
FEWER = {"thing": (0, 1, 2, 3)}  # cases with fewer weights
OTHERS = "blue", "red", "white", "orange"  # what the colours of CASES["colour"] change to
FACTORS, SHARES = (-1, 0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3), (-1, -0.5, 0, 0.25, 0.5, 0.75, 1)
PATHS = {  # name: where it is looked at, and its context out of the prompt's, another's, the empty
    "all rows scaled": (FACTORS, lambda one, other, empty, x: scale(one, x)),
    "their mean scaled": (FACTORS, lambda one, other, empty, x: scale_mean(one, x)),
    "mixed with another": (
        tuple(i / 10 for i in range(11)),
        lambda one, other, _, x: mix(one, other, x),
    ),
    "between empty and prompt": (SHARES, lambda one, other, empty, x: mix(empty, one, x)),
}


def shows(reading: Reading, name: str) -> bool:
    """Whether the judge found it: as the surroundings, or as thing or colour of anything."""
    seen = [name in (one.thing, one.colour) for one in reading.things]
    return reading.surroundings == name or any(seen)


@torch.no_grad()
def point(sd, judge: Judge, case: str, method: str, weight: float, options: dict) -> dict:
    """One point: of how many pictures the word and the rest of the prompt are right."""
    seeds, entries = options["seeds"], CASES[case]
    chosen = [entries[seed % len(entries)] for seed in range(seeds)]
    context = emphasise(sd, [prompt.format(weight) for prompt, _, _ in chosen], method)
    found = {"case": case, "method": method, "weight": weight, "n": seeds}
    wanted = {part: [entry[i] for entry in chosen] for part, i in (("word", 1), ("rest", 2))}
    return found | counted(looked_at(sd, judge, context, options), wanted)


@torch.no_grad()
def stop(sd, judge: Judge, path: str, x: float, options: dict) -> dict:
    """One stop of a path: how many pictures show the prompt's colour, the other's, and the rest."""
    seeds, entries = options["seeds"], CASES["colour"]
    chosen = [(*entries[i], OTHERS[i]) for i in (seed % len(entries) for seed in range(seeds))]
    ones = [prompt.format(1) for prompt, *_ in chosen]
    others = [prompt.format(1).replace(colour, other) for prompt, colour, _, other in chosen]
    contexts = emphasise(sd, ones), emphasise(sd, others), sd.encode([""] * seeds)
    readings = looked_at(sd, judge, PATHS[path][1](*contexts, x), options)
    wanted = {
        part: [one[i] for one in chosen] for part, i in (("word", 1), ("rest", 2), ("other", 3))
    }
    return {"path": path, "at": x, "n": seeds} | counted(readings, wanted)


def looked_at(sd, judge: Judge, context: torch.Tensor, options: dict) -> list[Reading]:
    """What the judge sees in the pictures of a context, seeds counting up."""
    run = {"steps": options["steps"], "guidance_scale": options["guidance"]}
    *_, last = sd.sample(context, seed=list(range(len(context))), **run)
    return judge.read(rounded(sd.vae.decode(last.x)))


def counted(readings: list[Reading], wanted: dict[str, list[str]]) -> dict:
    """For every part: how many pictures show what was wanted of them, with an interval."""
    found = {}
    for part, names in wanted.items():
        right = sum(shows(*pair) for pair in zip(readings, names))
        interval = [round(x, 3) for x in wilson(right, len(names))]
        found |= {part: right, f"{part}_interval": interval}
    return found


def write(path: Path, content: dict) -> None:
    """JSON with a line for each setting, case, point and stop."""
    parts = [f'"settings": {json.dumps(content["settings"])}']
    for name, brackets in (("cases", "{}"), ("points", "[]"), ("paths", "[]")):
        held = content[name]
        lines = [json.dumps(one) for one in held]
        if brackets == "{}":
            lines = [f"{json.dumps(case)}: {json.dumps(entries)}" for case, entries in held.items()]
        parts.append(f'"{name}": {brackets[0]}\n' + ",\n".join(lines) + f"\n{brackets[1]}")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "emphasis.json")
    parser.add_argument("--seeds", type=int, default=16, help="pictures a point (%(default)s)")
    parser.add_argument("--steps", type=int, default=8, help="denoising steps (%(default)s)")
    parser.add_argument("--guidance", type=float, default=7.5, help="(%(default)s)")
    parser.add_argument("--device", help="cpu, cuda or mps (the best there is)")
    args = parser.parse_args()
    began, sd = time.monotonic(), bf.load(device=args.device)
    judge, points = load_judge().to(sd.device), []
    options = {name: getattr(args, name) for name in ("seeds", "steps", "guidance")}
    wanted = [
        (case, method, weight)
        for case in CASES
        for weight in FEWER.get(case, WEIGHTS)
        for method in (EMPHASIS if weight != 1 else ["plain"])  # weight 1 is one and the same
    ]
    for case, method, weight in tqdm(wanted, "points"):
        points.append(point(sd, judge, case, method, weight, options))
    for one in [one for one in points if one["weight"] == 1]:
        points += [one | {"method": method} for method in EMPHASIS if method != "plain"]
    stops = [(path, x) for path, (places, _) in PATHS.items() for x in places]
    paths = [stop(sd, judge, *one, options) for one in tqdm(stops, "paths")]
    settings = {
        **options,
        "device": str(sd.device),
        "unet": fingerprint(sd.unet),
        "torch": torch.__version__,
    }
    settings["minutes"] = round((time.monotonic() - began) / 60, 1)
    write(args.output, {"settings": settings, "cases": CASES, "points": points, "paths": paths})
    print(f"{args.output.name}: {len(points)} points in {settings['minutes']} minutes")


if __name__ == "__main__":
    main()
