"""What limits the bundled CLIP? Thing and colour, read by a linear map off each of its vectors.

    python data/experiments/clip_probe.py           # half a minute; writes clip_probe.json

2,400 unseen scenes with one kind of thing; a least-squares map learns on two thirds of them and
names the thing, or the colour, of the others. The first end token's row is all that CLIP reads of
a caption; the UNet reads every row.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import boringfusion_lite as bf
from boringfusion_lite import checkpoint, scenes, scoring
from boringfusion_lite.clip import first_end

COUNT, SHOWN, BATCH, RIDGE = 2400, 1200, 100, 1e-5  # captions, pictures


def probed(vectors: Tensor, labels: Tensor) -> float:
    """The share of the last third that a linear map of the first two thirds names right."""
    x = F.pad(vectors.double(), (0, 1), value=1)
    fit = 2 * len(x) // 3
    wanted = F.one_hot(labels[: len(x)]).double()[:fit]
    weight = RIDGE * fit * vectors.var().double() * torch.eye(x.shape[1], dtype=torch.float64)
    learned = torch.linalg.solve(x[:fit].T @ x[:fit] + weight, x[:fit].T @ wanted)
    return ((x[fit:] @ learned).argmax(dim=1) == labels[fit : len(x)]).double().mean().item()


@torch.no_grad()
def vectors(found: list) -> dict[str, Tensor]:
    """Source -> one vector a scene."""
    sd, clip = bf.load(device="cpu"), checkpoint.load_clip()
    ids = sd.tokenizer([scene.caption for scene in found])
    rows = torch.cat([sd.text_encoder(part) for part in ids.split(BATCH)])
    ends = first_end(ids)
    shown = [found[start : start + BATCH] for start in range(0, SHOWN, BATCH)]
    return {
        "picture": torch.cat([clip.embed_image(scoring.drawings(part)) for part in shown]),
        "caption": torch.cat([clip.embed_text(part) for part in ids.split(BATCH)]),
        "row of the first end token": rows[torch.arange(len(rows)), ends],
        "mean of the rows before it": torch.stack(
            [own[:end].mean(dim=0) for own, end in zip(rows, ends)]
        ),
    }


if __name__ == "__main__":
    drawn = (scenes.random_scene(scoring.UNSEEN + i, scenes.STARTER) for i in range(10**5))
    single = (scene for scene in drawn if len(scene.groups) == 1)
    found = [scene for scene, _ in zip(single, range(COUNT))]
    world, told = scenes.STARTER, {"command": "python data/experiments/clip_probe.py", "n": COUNT}
    names = {"thing": world.things, "colour": world.colours}
    for source, each in vectors(found).items():
        told[source] = {}
        for what, choices in names.items():
            labels = torch.tensor([choices.index(getattr(s.groups[0], what)) for s in found])
            told[source][what] = round(probed(each, labels), 3)
        print(f"{source:28}{told[source]}", flush=True)
    text = json.dumps(told, indent=1) + "\n"
    (Path(__file__).parent / "clip_probe.json").write_text(text, "utf-8")
