"""Did the model learn, or does it replay? Every picture's nearest neighbour in the training set.

A small distance alone says nothing: new drawings of the same world have near neighbours too. So the
distances are held against those of pictures that nobody trained on (Meehan, Chaudhuri & Dasgupta
2020, "A Non-Parametric Test to Detect Data-Copying in Generative Models").
"""

import torch
from torch import Tensor

from .manifold import EXACT


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
