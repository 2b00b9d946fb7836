"""Scores over many settings, measured once and stored: `data/sweeps.json` and `.safetensors`.

`data/measure_sweeps.py` measures them; a page looks them up. `Sweeps.along("steps")` gives the
points in which only the steps differ.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from .features import from_bytes
from .runtime import bundled_folder

FILE = bundled_folder().parent / "sweeps.json"
SWEPT = {  # what varies, and what all its points have in common
    "steps": {"sampler": "ddim", "guidance": 7.5},
    "guidance": {"sampler": "ddim", "steps": 20},
    "sampler": {"guidance": 3, "calls": (9, 10)},
}


@dataclass(frozen=True)
class Sweeps:
    """What was measured: settings of the measurement, one point a setting, and features by name."""

    settings: dict
    points: list[dict]
    facts: dict = field(default_factory=dict)  # of no setting, such as the drawings' own scores
    features: dict[str, Tensor] = field(default_factory=dict)

    def along(self, axis: str) -> list[dict]:
        """The points of a sweep over "steps", "guidance" or "sampler", in order."""
        if axis not in SWEPT:
            raise ValueError(f"no sweep over {axis!r}: use one of {', '.join(SWEPT)}")
        chosen = [one for one in self.points if all(map(one_of, *fixed(one, axis)))]
        return chosen if axis == "sampler" else sorted(chosen, key=lambda one: one[axis])


def fixed(point: dict, axis: str) -> tuple[list, list]:
    """What a point has, and what a sweep wants it to have."""
    wanted = SWEPT[axis]
    return [point[name] for name in wanted], list(wanted.values())


def one_of(value, wanted) -> bool:
    return value in wanted if isinstance(wanted, tuple) else value == wanted


def load_sweeps(file: Path = FILE) -> Sweeps:
    """What is stored; FileNotFoundError, with the command that measures it, where nothing is."""
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not there: `python data/measure_sweeps.py` writes it.")
    held, tensors = json.loads(file.read_text("utf-8")), file.with_suffix(".safetensors")
    kept = load_file(tensors) if tensors.is_file() else {}
    features = {n: from_bytes(x) if x.dtype == torch.uint8 else x for n, x in kept.items()}
    return Sweeps(held["settings"], held["points"], held["facts"], features)
