"""Draw the contact sheet: 36 prompts that nobody picked, and what the model makes of them.

    python data/make_contact_sheet.py            # writes data/contact_sheet.jpg

The prompts are the captions of the toy world's test scenes number 20,000,000 to 20,000,035, which
no network has seen; the seeds are 0 to 35.
"""

import argparse
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import boringfusion_lite as bf
from boringfusion_lite import scenes

FIRST, COUNT, COLUMNS = 20_000_000, 36, 6
CELL, TEXT = 160, 66  # pixels: width of a cell, height of the words under a picture


def prompts(world: scenes.World) -> list[str]:
    """The captions of 36 consecutive test scenes."""
    return [scenes.random_scene(FIRST + i, world).caption for i in range(COUNT)]


def sheet(pictures: list[Image.Image], captions: list[str]) -> Image.Image:
    """Pictures in rows of six, each over its caption."""
    rows, side = -(-len(pictures) // COLUMNS), pictures[0].height
    whole = Image.new("RGB", (COLUMNS * CELL, rows * (side + TEXT)), "white")
    pen, font = ImageDraw.Draw(whole), ImageFont.load_default(size=10)
    for i, (picture, caption) in enumerate(zip(pictures, captions)):
        left, top = i % COLUMNS * CELL, i // COLUMNS * (side + TEXT)
        whole.paste(picture, (left + (CELL - picture.width) // 2, top + 4))
        words = "\n".join(textwrap.wrap(caption, 30)[:4])
        pen.text((left + CELL // 2, top + side + 7), words, "#222", font, "ma", align="center")
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "contact_sheet.jpg")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=7.5)
    args = parser.parse_args()
    sd, captions = bf.load(), prompts(scenes.STARTER)
    pictures = []
    for start in range(0, COUNT, COLUMNS):
        some = captions[start : start + COLUMNS]
        options = {"steps": args.steps, "guidance_scale": args.guidance}
        *_, last = sd.sample(some, seed=list(range(start, start + len(some))), **options)
        pictures += sd.decode(last.x)
    sheet(pictures, captions).save(args.output, quality=90)
    print(f"{args.output}: {args.output.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
