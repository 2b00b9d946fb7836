"""A cheap look at latents: one colour for every cell, by a matrix of 5 x 3 numbers and no decoder.

A cell's four numbers and a 1, times the matrix, are its red, green and blue. The matrix comes from
pictures of which both the latents and the pixels are known, by least squares. Such matrices are
passed around for SD 1.4 (discuss.huggingface.co/t/decoding-latents-to-rgb-without-upscaling/23204);
each fits one VAE only, so here it is fitted to the VAE at hand.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def cell_colours(images: Tensor, height: int, width: int) -> Tensor:
    """Images [B, 3, H, W] -> the mean colour of every latent cell [B, 3, height, width], float32.

    ValueError where the cells do not divide the picture.
    """
    if images.shape[-2] % height or images.shape[-1] % width:
        raise ValueError(
            f"pictures of {list(images.shape[-2:])} pixels do not divide into {height} x {width} "
            "cells; give the images that these latents were encoded from."
        )
    cell = images.shape[-2] // height, images.shape[-1] // width
    return F.avg_pool2d(images.float(), cell)


def fit_preview(latents: Tensor, images: Tensor) -> Tensor:
    """The matrix [C + 1, 3] that turns cells into colours with the least squared error, float32.

    latents [B, C, h, w] and the images [B, 3, H, W] in [-1, 1] that they stand for; the last row of
    the matrix is the constant. ValueError where latents and images do not belong together.
    """
    if len(latents) != len(images):
        raise ValueError(f"{len(latents)} latents and {len(images)} images: give one for each.")
    colours = _rows(cell_colours(images, *latents.shape[-2:])).double().cpu()
    cells = _with_one(_rows(latents)).double().cpu()
    return torch.linalg.lstsq(cells, colours, driver="gelsd").solution.float().to(latents.device)


def preview(latents: Tensor, matrix: Tensor) -> Tensor:
    """Latents [B, C, h, w] -> small images [B, 3, h, w] in about [-1, 1], one pixel a cell."""
    flat = _with_one(_rows(latents)) @ matrix.float()
    return flat.unflatten(0, (len(latents), *latents.shape[-2:])).permute(0, 3, 1, 2)


def r_squared(guess: Tensor, truth: Tensor) -> float:
    """Share of the variance of truth [B, C, H, W] that the guess explains; 1 is all of it.

    0 is what the mean of each channel would reach; below 0 it is worse than that.
    """
    truth = truth.float()
    wrong = (guess.float() - truth).square().sum()
    around = (truth - truth.mean(dim=(0, 2, 3), keepdim=True)).square().sum()
    return (1 - wrong / around).item()


def _rows(maps: Tensor) -> Tensor:
    """[B, C, h, w] -> [B * h * w, C]: a row for every cell."""
    return maps.float().permute(0, 2, 3, 1).flatten(0, 2)


def _with_one(rows: Tensor) -> Tensor:
    """A column of ones on the right, for the constant."""
    return F.pad(rows, (0, 1), value=1.0)
