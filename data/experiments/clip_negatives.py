"""What nearly right captions buy: the same training with and without one for each picture.

    python data/experiments/clip_negatives.py       # about two minutes

Writes clip_negatives.json, and clip_diagonal.json: cosines of 16 unseen pictures and captions at
five moments of the second training.
"""

import json

import torch
from clip_trial import BATCH, HERE, SIZE, WORLD, Trial, write

from boringfusion_lite import scoring
from boringfusion_lite.tokenizer import Tokenizer

STEPS, MOMENTS, SHOWN, AMONG = 200, (0, 15, 40, 90, 200), 16, 64


class Diagonal:
    """Keeps the cosines of some moments, and how many of 64 pictures find their caption."""

    def __init__(self):
        self.unseen, self.moments = scoring.unseen_scenes(WORLD, "train", AMONG), []
        self.captions, self.tokenizer = [s.caption for s in self.unseen], Tokenizer.load()

    @torch.no_grad()
    def __call__(self, step: int, clip) -> None:
        if step not in MOMENTS:
            return
        texts = clip.embed_text(self.tokenizer(self.captions))
        cosines = clip.embed_image(scoring.drawings(self.unseen, SIZE)) @ texts.T
        rounded = [[round(x, 3) for x in row[:SHOWN]] for row in cosines[:SHOWN].tolist()]
        found = scoring.retrieved(cosines)
        self.moments.append({"step": step, "found": found, "cosines": rounded})


if __name__ == "__main__":
    diagonal = Diagonal()
    alone, swapped = Trial(steps=STEPS), Trial(steps=STEPS, swapped=True)
    arms = {"the batch alone": alone, "and a nearly right one": swapped}
    write("clip_negatives", arms, diagonal)
    if diagonal.moments:  # else the training was done before
        told = json.loads((HERE / "clip_negatives.json").read_text("utf-8"))
        loss = told["arms"][-1]["loss"]
        told = {"batch": BATCH, "every": STEPS // len(loss), "of": AMONG, "loss": loss}
        told |= {"captions": diagonal.captions[:SHOWN], "moments": diagonal.moments}
        (HERE / "clip_diagonal.json").write_text(json.dumps(told) + "\n", "utf-8")
