"""Did the model learn, or does it replay? Every picture's nearest neighbour in the training set.

A small distance alone says nothing: new drawings of the same world have near neighbours too. So the
distances are held against those of pictures that nobody trained on (Meehan, Chaudhuri & Dasgupta
2020, "A Non-Parametric Test to Detect Data-Copying in Generative Models").

`data/training_thumbnails.png` holds a thumbnail of all 16,000 drawings that Tiny SD has seen.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .features import from_bytes, in_bytes
from .manifold import EXACT
from .runtime import bundled_folder

FILE = bundled_folder().parent / "training_thumbnails.png"
SIDE, ACROSS = 8, 128  # fields of a thumbnail, thumbnails in a row of the sheet


def as_sheet(points: Tensor) -> Image.Image:
    """Thumbnails [N, 192] in [-1, 1] (`features.thumbnails`) side by side in one picture.

    ValueError where they fill no whole rows of 128.
    """
    if not len(points) or len(points) % ACROSS:
        raise ValueError(f"{len(points)} thumbnails fill no whole rows of {ACROSS}")
    tiles = in_bytes(points).unflatten(1, (3, SIDE, SIDE)).unflatten(0, (-1, ACROSS))
    return Image.fromarray(tiles.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1).numpy())


def training_thumbnails(file: Path = FILE) -> Tensor:
    """The thumbnails of a sheet in the order of the drawings: [N, 192] in [-1, 1].

    FileNotFoundError, with the command that draws it, where there is none.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not there: `python data/draw_thumbnails.py` writes it.")
    sheet = torch.from_numpy(np.array(Image.open(file)))
    tiles = sheet.unflatten(1, (ACROSS, SIDE)).unflatten(0, (-1, SIDE))
    return from_bytes(tiles.permute(0, 2, 4, 1, 3).flatten(2).flatten(0, 1))


def nearest(points: Tensor, training: Tensor) -> tuple[Tensor, Tensor]:
    """For points [N, D] how far the nearest of the training points [M, D] is, and which: two [N].

    ValueError where there are no training points.
    """
    if not len(training):
        raise ValueError("no training points: there is nothing to be near to")
    parts = [
        torch.cdist(part, training, compute_mode=EXACT).min(dim=1) for part in points.split(256)
    ]
    return torch.cat([p.values for p in parts]), torch.cat([p.indices for p in parts])


def nearer_share(distances: Tensor, unseen: Tensor) -> float:
    """How often a picture is nearer to its neighbour than an unseen one to its own; a tie is half.

    distances [N], unseen [M]. Near 0.5: no nearer than new pictures are; near 1: copies. This is
    Mann & Whitney's U, divided by N * M.
    """
    less = (distances[:, None] < unseen).double()
    ties = (distances[:, None] == unseen).double()
    return (less + ties / 2).mean().item()


def suspects(distances: Tensor, unseen: Tensor, share: float = 0.01) -> Tensor:
    """Which distances [N] are below those of nearly all unseen pictures: bool [N].

    share: of the unseen pictures [M] that would be suspected, the false alarms.
    """
    return distances < unseen.quantile(share)
