"""All drawings that Tiny SD was trained on, 8 x 8 fields each: training_thumbnails.png.

    python data/draw_thumbnails.py        # half a minute on two cores

Page 12 looks there for copies. They are drawn anew from their seeds, as `train` draws them.
"""

from concurrent.futures import ProcessPoolExecutor

import torch
from tqdm import tqdm

from boringfusion_lite.features import thumbnails
from boringfusion_lite.memorisation import ACROSS, FILE, as_sheet
from boringfusion_lite.recipes import TINY_VAE
from boringfusion_lite.scenes import STARTER, random_scene
from boringfusion_lite.scoring import drawings

COUNT = 16_000


def row(first: int) -> torch.Tensor:
    """The thumbnails of the drawings from this one on, a row of the sheet."""
    scenes = [random_scene(i, STARTER) for i in range(first, first + ACROSS)]
    return thumbnails(drawings(scenes, TINY_VAE.sample_size))


if __name__ == "__main__":
    firsts = range(0, COUNT, ACROSS)
    with ProcessPoolExecutor() as pool:
        rows = list(tqdm(pool.map(row, firsts), "rows", len(firsts)))
    as_sheet(torch.cat(rows)).save(FILE, optimize=True)
    print(f"{FILE.name}: {FILE.stat().st_size:,} bytes")
