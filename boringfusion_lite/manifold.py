"""Two questions instead of one distance: are the pictures believable, and is nothing missing?

Around every point of a set lies a ball that reaches to its k-th neighbour; all balls together stand
for the set's territory. Precision is the share of generated points within that of the real ones,
recall the share of real points within that of the generated (Kynkäänniemi et al. 2019, "Improved
Precision and Recall Metric for Assessing Generative Models").
"""

from typing import NamedTuple

import torch
from torch import Tensor

EXACT = "donot_use_mm_for_euclid_dist"  # the fast way rounds small distances away


class Territory(NamedTuple):
    """precision: generated points among real ones; recall: the other way round. Both 0 to 1."""

    precision: float
    recall: float


def radii(points: Tensor, k: int = 3) -> Tensor:
    """How far the k-th neighbour of each of N points [N, D] is, [N]; no point is its own.

    ValueError unless there are more than k points.
    """
    if not 1 <= k < len(points):
        raise ValueError(f"a {k}-th neighbour among {len(points)} points: use more points than k")
    return torch.cdist(points, points, compute_mode=EXACT).kthvalue(k + 1, dim=1).values


def covered(points: Tensor, by: Tensor, k: int = 3) -> float:
    """The share of points [N, D] that lie in a ball of the others [M, D]."""
    apart = torch.cdist(points, by, compute_mode=EXACT)  # [N, M]
    return (apart <= radii(by, k)).any(dim=1).float().mean().item()


def precision_recall(real: Tensor, made: Tensor, k: int = 3) -> Territory:
    """Features [N, D] of real and [M, D] of generated pictures -> precision and recall."""
    return Territory(covered(made, real, k), covered(real, made, k))


def spread(features: Tensor) -> float:
    """How different the pictures of one prompt are: features [prompts, seeds, D] -> the mean
    distance between two seeds of a prompt; 0 where all seeds give one picture."""
    seeds = features.shape[1]
    if seeds < 2:
        raise ValueError("one picture a prompt has no spread: take two seeds or more")
    apart = torch.cdist(features, features, compute_mode=EXACT)  # [prompts, seeds, seeds]
    return (apart.sum(dim=(1, 2)) / (seeds * (seeds - 1))).mean().item()
