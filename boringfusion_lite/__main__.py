"""Draw a picture from the command line: python -m boringfusion_lite "a red house" -o house.png"""

import argparse
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

SAMPLER_NAMES = (  # those of `samplers.SAMPLERS`, without torch, so that --help answers at once
    "ddpm ddim plms euler euler_a heun lms dpm2 dpm2_a dpmpp_2s_a dpmpp_2m dpmpp_sde unipc"
).split()


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m boringfusion_lite",
        description="Draw a picture of a prompt with Stable Diffusion, by default with the bundled "
        "Tiny SD, on this computer and without a network.",
        epilog='example: python -m boringfusion_lite "a red house under a yellow sun" -o house.png',
    )
    add = parser.add_argument
    add("prompt", help="what to draw, in quotes")
    add("-o", "--output", type=Path, default=Path("picture.png"), help="the picture (picture.png)")
    add("--negative", default="", help="what to steer away from")
    add("--steps", type=int, default=20, help="denoising steps (20)")
    add("--guidance", type=float, default=7.5, help="how closely to follow; 1 is off (7.5)")
    add("--sampler", default="ddim", help=f"{', '.join(SAMPLER_NAMES)} (ddim)")
    add("--seed", type=int, default=0, help="another seed, another picture (0)")
    add("--height", type=int, help="in pixels, a multiple of 8 (the model's own)")
    add("--width", type=int, help="in pixels, a multiple of 8 (the model's own)")
    add("--model", type=Path, help="a model's file or folder (the bundled Tiny SD)")
    add("--device", help="cpu, cuda or mps (the best there is)")
    return parser.parse_args(arguments)


@contextmanager
def timed(stage: str, seconds: dict[str, float]) -> Iterator[None]:
    """Note in `seconds` how long a stage took."""
    began = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - began


def draw(args: argparse.Namespace) -> None:
    """Load, encode, denoise, decode, save; then one line of timings."""
    seconds: dict[str, float] = {}
    if args.output.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise ValueError(f"{args.output}: the name of a picture ends in .png, .jpg or .webp.")
    if not args.output.parent.is_dir():
        raise FileNotFoundError(f"the folder {args.output.parent} does not exist; make it first.")
    with timed("load", seconds):
        import boringfusion_lite as bf  # here, so that --help answers at once

        sd = bf.load(args.model, device=args.device)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sd.warn_about(args.prompt)
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    with timed("text", seconds):
        frames = sd.sample(
            args.prompt,
            negative_prompt=args.negative,
            steps=args.steps,
            guidance_scale=args.guidance,
            sampler=args.sampler,
            seed=args.seed,
            height=args.height,
            width=args.width,
        )
    with timed("denoise", seconds):
        for frame in tqdm(frames, total=args.steps, desc="denoising", leave=False, disable=None):
            last = frame
    with timed("decode", seconds):
        picture = sd.decode(last.x)[0]
    partial = args.output.with_name(f".{args.output.name}")
    try:
        picture.save(partial, format=args.output.suffix[1:].replace("jpg", "jpeg"))
        os.replace(partial, args.output)
    finally:
        partial.unlink(missing_ok=True)
    times = "  ".join(f"{stage} {spent:.2f} s" for stage, spent in seconds.items())
    print(f"{args.output}: {picture.width}x{picture.height}  {times}")


def main(arguments: list[str] | None = None) -> int:
    """0 for a picture; 1 and one line on stderr for anything that cannot work."""
    args = parse(arguments)
    try:
        draw(args)
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
