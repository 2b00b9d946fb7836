"""The exercises of page 00: a picture to order, a grid, and when a picture is settled."""

from PIL import Image
from torch import Tensor

from ..pipeline import StableDiffusion
from ..scoring import difference
from .verdict import Wrong, ask, checks


@checks
def check_picture(yours, sd: StableDiffusion) -> str:
    """`yours(prompt, seed, steps)` draws what `sd` draws."""
    prompt, seed, steps = "a red house at night", 7, 3
    mine = _picture(ask(yours, prompt, seed=seed, steps=steps))
    if mine != _drawn(sd, prompt, seed, steps):
        for reason, other in (("seed", (seed + 1, steps)), ("number of steps", (seed, steps + 1))):
            if mine == _picture(yours(prompt, *other)):
                raise Wrong(f"The {reason} makes no difference. Did you hand it on to the model?")
        raise Wrong(f"Another picture than sd({prompt!r}, seed={seed}, steps={steps}) gives.")
    return "the prompt, the seed and the steps all arrive"


@checks
def check_grid(yours, sd: StableDiffusion) -> str:
    """`yours(prompts, seeds, steps)` is one row a prompt, each picture as it is alone."""
    prompts, seeds, steps = ["a red car", "a blue fish"], [4, 5, 6], 2
    grid = ask(yours, prompts, seeds, steps)
    shape = len(grid), len(grid[0])
    if shape != (2, 3):
        swapped = " Rows and columns are exchanged." if shape == (3, 2) else ""
        raise Wrong(f"2 prompts and 3 seeds gave {shape[0]} rows of {shape[1]}.{swapped}")
    for row, prompt in zip(grid, prompts):
        for picture, seed in zip(row, seeds):
            if _picture(picture) != _drawn(sd, prompt, seed, steps):
                raise Wrong(
                    f"The picture of {prompt!r} with seed {seed} is another one than it is alone. "
                    "Does every picture start from its own seed?"
                )
    return "every picture is the one that its prompt and seed give alone"


@checks
def check_settled(yours, sd: StableDiffusion) -> str:
    """`yours(frames, picture)` is the first step from which on the clean-guess stays close."""
    for prompt, seed in (("a yellow star on plain blue", 1), ("a red boat at sunset", 2)):
        frames = list(sd.sample(prompt, seed=seed, steps=8))
        picture = sd.decode(frames[-1].x)[0]
        answer, wanted = ask(yours, frames, picture), _settled(sd, frames, picture, "x0")
        if answer == wanted:
            continue
        if answer == wanted - 1:
            raise Wrong(
                "One too few: steps count from 1, and settled is after the last that is far off."
            )
        if answer == _settled(sd, frames, picture, "x"):
            raise Wrong("These are the noisy latents, frame.x; the clean-guess is frame.x0.")
        raise Wrong(f"For {prompt!r} it is step {wanted}, not {answer}. Is it close for good?")
    return "from that step on the layout is what it will be"


def _drawn(sd: StableDiffusion, prompt: str, seed: int, steps: int) -> bytes:
    *_, last = sd.sample(prompt, seed=seed, steps=steps)
    return sd.decode(last.x)[0].tobytes()


def _picture(answer) -> bytes:
    """The bytes of a PIL picture; `Wrong` for anything else."""
    if isinstance(answer, Tensor) and answer.shape[-3:][:1] == (3,):
        raise Wrong("This is a tensor; `sd.decode(latents)` and `sd(prompt)` give a picture.")
    if not isinstance(answer, Image.Image):
        raise Wrong(f"A picture is asked for, not {type(answer).__name__}.")
    return answer.tobytes()


def _settled(sd: StableDiffusion, frames, picture: Image.Image, latents: str) -> int:
    guesses = [sd.decode(getattr(frame, latents))[0] for frame in frames]
    distances = [difference(guess, picture) for guess in guesses]
    too_far = [f.step for f, d in zip(frames, distances) if d > 0.2 * distances[0]]
    return max(too_far) + 1
