"""Teach Tiny SD the heart, which it has never seen, from eight drawings, and measure the result.

    python data/teach_heart.py                   # writes data/heart/, minutes on two cores

First a word, <heart>, of one vector (textual inversion); then, with that word, a LoRA of rank 4 on
the UNet's attention, which rehearses old scenes beside the eight drawings. Measured is: how well
the noise is named in drawings of hearts that were not in the lesson; of pictures of one heart on
plain white, how many have an outline that is nearer to a heart's than to that of any of the 27
other things; and what the judge says of old scenes, with the LoRA and without. Page 08 shows it.
"""

import argparse
import time
from itertools import islice, product
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image, ImageOps
from tqdm import tqdm

import boringfusion_lite as bf
from boringfusion_lite.captions import worded
from boringfusion_lite.drawing import THINGS
from boringfusion_lite.judge import load_judge
from boringfusion_lite.lora import new_lora, parameters
from boringfusion_lite.pipeline import to_pil
from boringfusion_lite.probe import noise_errors
from boringfusion_lite.runtime import model_folder
from boringfusion_lite.saving import write_json
from boringfusion_lite.scenes import STARTER, Group, Scene, random_scene
from boringfusion_lite.scoring import generate, tally, unseen_scenes
from boringfusion_lite.teaching import Lesson, learn, new_word, vectors

FOLDER = Path(__file__).resolve().parent / "heart"
THING, WORD, LIKE = "heart", "<heart>", "star"
DRAWINGS = [
    ("red", "plain white", "flat drawing"),
    ("blue", "in a meadow", "flat drawing"),
    ("yellow", "at night", "flat drawing"),
    ("purple", "plain blue", "flat drawing"),
    ("green", "plain white", "photorealistic"),
    ("orange", "in the snow", "photorealistic"),
    ("red", "at sunset", "photorealistic"),
    ("blue", "plain white", "pencil sketch"),
]
STRENGTHS = (0.0, 0.5, 1.0, 1.25)
REHEARSED = 30_000_000  # old scenes from here on: neither trained on nor measured elsewhere


# ---- pictures ------------------------------------------------------------------------------------


def scene(thing: str, colour: str, where: str, style: str, seed: int = 0) -> Scene:
    """One big thing in the middle."""
    return Scene((Group(thing, colour, "big"),), "middle", None, where, style, seed)


def caption(one: Scene) -> str:
    """A scene of the new thing in words, nothing left out, with the new word for it."""
    return worded(one, set(), Random(one.seed)).replace(THING, WORD)


def others(n: int) -> list[Scene]:
    """Scenes of one heart as no drawing of the lesson shows it."""
    combined = product(STARTER.colours, STARTER.surroundings, STARTER.styles)
    unseen = [each for each in combined if each not in DRAWINGS]
    Random(0).shuffle(unseen)
    return [scene(THING, *each, seed=100 + i) for i, each in enumerate(unseen[:n])]


def outline(picture: Image.Image) -> np.ndarray:
    """What stands out from plain white, cut out and stretched to a square: [32, 32] in [0, 1]."""
    pixels = np.asarray(picture, dtype=np.int16)
    stands_out = (np.ptp(pixels, axis=2) > 60) | (pixels.max(axis=2) < 120)
    mask = Image.fromarray(np.uint8(255 * stands_out))
    cut = mask.crop(mask.getbbox() or (0, 0, 1, 1))
    square = ImageOps.pad(cut, (32, 32), Image.Resampling.BOX)
    return np.asarray(square) / 255


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two outlines, either of them mirrored if that fits better."""
    flips = (other, other[:, ::-1])
    return max(np.minimum(one, f).sum() / max(np.maximum(one, f).sum(), 1e-9) for f in flips)


def nearest_thing(picture: Image.Image, outlines: dict[str, np.ndarray]) -> str:
    own = outline(picture)
    return max(outlines, key=lambda thing: overlap(own, outlines[thing]))


# ---- lesson --------------------------------------------------------------------------------------


def watched(losses, steps: int, what: str) -> list[float]:
    return list(tqdm(losses, what, steps, mininterval=5))


def teach(sd, args) -> tuple[dict, dict]:
    """The word and the LoRA."""
    shown = [scene(THING, *each, seed=i) for i, each in enumerate(DRAWINGS)]
    drawn, said = [one.draw(sd.image_size) for one in shown], [caption(one) for one in shown]
    words = new_word(sd, WORD, LIKE)
    options = {"seed": args.seed, "batch": args.batch}
    lesson = Lesson.of(sd, drawn, said, **options)
    steps, rate = args.word_steps, 0.03
    loss = learn(vectors(words), lambda step: lesson.loss(step, words=words), steps, rate)
    watched(loss, steps, "word")
    words = {word: rows.detach() for word, rows in words.items()}
    old = [random_scene(REHEARSED + i, STARTER) for i in range(args.rehearsal)]
    drawn += [one.draw(sd.image_size) for one in old]
    said += [one.caption for one in old]
    taught = bf.with_words(sd, words)
    lesson = Lesson.of(taught, drawn, said, rehearsal=len(old), **options)
    lora = new_lora(sd, rank=4, seed=args.seed)
    steps, rate = args.lora_steps, 0.005
    loss = learn(parameters(lora), lambda step: lesson.loss(step, lora=lora), steps, rate)
    watched(loss, steps, "LoRA")
    return words, {place: one._replace(up=one.up.detach().half(), down=one.down.detach().half())
                   for place, one in lora.items()}  # fmt: skip


# ---- measures ------------------------------------------------------------------------------------


def noise_error(sd, scenes: list[Scene]) -> float:
    """Mean squared error of the noise guesses for drawings; to guess nothing at all gives 1."""
    latents = sd.encode_image([one.draw(sd.image_size) for one in scenes])
    context = sd.encode([caption(one) for one in scenes])
    return noise_errors(sd, latents, context, range(25, 1000, 50)).mean().item()


def hearts(sd, n: int, steps: int) -> int:
    """Of n pictures of one heart on plain white: how many have the outline of one."""
    plain = ("plain white", "flat drawing")
    outlines = {thing: outline(scene(thing, "red", *plain).draw(sd.image_size)) for thing in THINGS}
    colours = [colour for colour in STARTER.colours if colour != "white"]
    asked = [scene(THING, colours[i % len(colours)], *plain, seed=200 + i) for i in range(n)]
    images = generate(sd, [caption(one) for one in asked], seed=1000, steps=steps)
    return sum(nearest_thing(picture, outlines) == THING for picture in to_pil(images))


def old_scores(sd, n: int, steps: int) -> dict[str, list[int]]:
    """What the judge finds right in old scenes that nobody has trained on: [right, said]."""
    judge = load_judge()
    scenes = list(islice(unseen_scenes(judge.world, "train", n), n))
    images = generate(sd, [one.caption for one in scenes], steps=steps)
    found = tally(judge.read(images), [one.labels for one in scenes])
    return {aspect: list(found[aspect]) for aspect in ("thing", "colour", "everything")}


def measure(sd, words: dict, lora: dict, n: int, steps: int) -> dict:
    before, taught = bf.with_words(sd, new_word(sd, WORD, LIKE)), bf.with_words(sd, words)
    strong = {s: bf.with_loras(taught, (lora, s)) for s in STRENGTHS}
    models = {f'the word as "{LIKE}"': before, "the word": taught, "word and LoRA": strong[1.0]}
    return {
        "noise error, 32 other drawings": {
            k: noise_error(m, others(32)) for k, m in models.items()
        },
        "pictures of one heart": n,
        "outline of a heart": {"before": hearts(before, n, steps)}
        | {str(s): hearts(model, n, steps) for s, model in strong.items()},
        "old scenes": {
            "without": old_scores(sd, 4 * n, steps),
            "with": old_scores(strong[1.0], 4 * n, steps),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=model_folder(), help="what is taught")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to write")
    parser.add_argument("--word-steps", type=int, default=40)
    parser.add_argument("--lora-steps", type=int, default=300)
    parser.add_argument(
        "--batch", type=int, default=8, help="new pictures a step; as many old ones"
    )
    parser.add_argument("--rehearsal", type=int, default=96, help="old scenes")
    parser.add_argument("--pictures", type=int, default=12, help="to measure on; old: 4 times")
    parser.add_argument("--steps", type=int, default=10, help="of each of these pictures")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    sd, began = bf.load(args.model), time.monotonic()
    words, lora = teach(sd, args)
    seconds = round(time.monotonic() - began)
    told = ("word_steps", "lora_steps", "batch", "rehearsal", "pictures", "seed")
    changed = [name for name in told if getattr(args, name) != parser.get_default(name)]
    options = [f" --{name.replace('_', '-')} {getattr(args, name)}" for name in changed]
    settings = {"command": "python data/teach_heart.py" + "".join(options)}
    settings |= {name: getattr(args, name) for name in told}
    notes = {name: str(value) for name, value in settings.items()}
    args.folder.mkdir(parents=True, exist_ok=True)
    bf.save_words(words, args.folder / "word.safetensors", notes)
    bf.save_lora(lora, args.folder / "lora.safetensors", sd, notes=notes)
    found = measure(sd, words, lora, args.pictures, args.steps) if args.pictures else {}
    write_json(args.folder / "measured.json", settings | {"seconds to teach": seconds} | found)


if __name__ == "__main__":
    main()
