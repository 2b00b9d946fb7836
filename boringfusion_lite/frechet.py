"""The Frechet distance: how far apart are two sets of pictures, seen as two clouds of points?

Each cloud is taken for a normal distribution, and those have a distance with a closed form (Dowson
& Landau 1982). On features of an Inception network it is the FID (Heusel et al. 2017); on features
of our own networks it is no FID, and its values cannot be compared with published ones.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Features [N, D] -> mean [D] and covariance [D, D] in float64; ValueError below two rows."""
    if features.dim() != 2 or len(features) < 2:
        raise ValueError(
            f"features have shape {list(features.shape)}; expected [N, D] with N at least 2, "
            "since one point has no spread."
        )
    features = features.double()
    return features.mean(dim=0), torch.atleast_2d(torch.cov(features.T))


def square_root(matrix: Tensor) -> Tensor:
    """The symmetric root of a covariance [D, D]: root @ root is the matrix again."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def frechet_gaussians(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    """|m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^1/2), the squared distance of two normal
    distributions; means [D], covariances [D, D]. Never below 0."""
    root = square_root(cov1)
    shared = torch.linalg.eigvalsh(root @ cov2 @ root).clamp(min=0).sqrt().sum()
    apart = (mean1 - mean2).square().sum() + cov1.trace() + cov2.trace() - 2 * shared
    return max(0.0, apart.item())


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """The squared Frechet distance of two sets of features, [N, D] and [M, D].

    Too large for finite N: two halves of one set are not at 0 (Chong & Forsyth 2020).
    ValueError for sets of fewer than two points, or of other widths.
    """
    if one.shape[-1] != other.shape[-1]:
        raise ValueError(
            f"features of {one.shape[-1]} and {other.shape[-1]} numbers cannot be compared: "
            "take the same network for both."
        )
    return frechet_gaussians(*moments(one), *moments(other))


def frechet_curve(
    one: Tensor, other: Tensor, sizes: Sequence[int], repeats: int, g: torch.Generator
) -> dict[int, list[float]]:
    """{n: distances}, each between n points of either set, drawn anew `repeats` times.

    ValueError for a size above what either set holds.
    """
    most = min(len(one), len(other))
    if max(sizes) > most:
        raise ValueError(f"{max(sizes)} points of {most}: use sizes up to {most}")

    def some(features: Tensor, n: int) -> Tensor:
        return features[torch.randperm(len(features), generator=g)[:n]]

    return {
        n: [frechet_distance(some(one, n), some(other, n)) for _ in range(repeats)] for n in sizes
    }


def frechet_at_infinity(curve: Mapping[int, Sequence[float]]) -> float:
    """Where a straight line through the distances, drawn over 1 / n, meets 1 / n = 0.

    The bias shrinks like 1 / n, so this is what endless pictures would score (Chong & Forsyth
    2020, "Effectively Unbiased FID"). Use sizes well above the number of features: below it the
    curve is no line yet.
    """
    if len(curve) < 2:
        raise ValueError("a line needs distances at two sizes or more")
    points = [(1 / n, value) for n, values in curve.items() for value in values]
    x, y = torch.tensor(points, dtype=torch.float64).unbind(dim=1)
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    return (y.mean() - slope * x.mean()).item()
