"""Pictures whose right edge continues at their left: convolutions that look round the corner.

A convolution looks beyond the edge and finds zeros there, by which it knows where the edge is. If
it finds the opposite edge instead, the picture has no edge and can be repeated without end.
Notebook 07 shows it.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch.nn.functional as F
from torch import Tensor, nn


@contextmanager
def wrapped(*networks: nn.Module, x: bool = True, y: bool = True) -> Iterator[None]:
    """While the block runs, the networks' convolutions pad with the opposite edge, not with zeros.

    x: left and right; y: top and bottom. No weight is touched, and all is as before once the block
    is left, also by an error.
    """
    with ExitStack() as undo:
        for network in networks:
            for conv in network.modules():
                if isinstance(conv, nn.Conv2d) and any(conv.padding):
                    _wrap(conv, x, y, undo)
        yield


def tiled(sd, x: bool = True, y: bool = True):
    """`with tiled(sd): picture = sd(prompt)`: a picture that can be laid as a tile.

    Wraps the UNet and the VAE's decoder. Frames are made as they are asked for, so ask for those of
    `sd.sample` within the block.
    """
    return wrapped(sd.unet, sd.vae.decoder, x=x, y=y)


def _wrap(conv: nn.Conv2d, x: bool, y: bool, undo: ExitStack) -> None:
    down, across = conv.padding
    margin = (across * x, across * x, down * y, down * y)  # left, right, top, bottom
    hook = conv.register_forward_pre_hook(lambda _, args: F.pad(args[0], margin, mode="circular"))
    undo.callback(hook.remove)
    undo.callback(setattr, conv, "padding", conv.padding)
    conv.padding = (down * (not y), across * (not x))


def seams(images: Tensor) -> tuple[float, float]:
    """How visible the edges of images [B, 3, H, W] would be, laid as tiles: across x, across y.

    The step from the last column to the first, over the mean of the two steps on either side of it:
    about 1 where the seam is like its surroundings, infinite where only the seam has a step.
    """
    ratios = []
    for dim in (-1, -2):
        steps = (images - images.roll(1, dim)).abs().float().transpose(dim, -1)  # [..., 0]: seam
        seam, beside = steps[..., 0].mean(), steps[..., [-2, -1, 1, 2]].mean()
        ratios.append(1.0 if seam == beside == 0 else (seam / beside).item())
    return ratios[0], ratios[1]
