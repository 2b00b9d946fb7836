"""Pictures as points: a row of numbers for each, so that sets of pictures can be compared.

The published scores (FID, precision and recall) take the features of an Inception network that was
trained on ImageNet. We have two networks of our own, and every score is named after the one that
it used: numbers from different features have nothing to say to each other.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .clip import CLIP
from .judge import Judge


def resized(images: Tensor, size: int) -> Tensor:
    """Images [B, 3, H, W] at size x size pixels; as they are where they have that size."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", antialias=True)


@torch.no_grad()
def judge_features(judge: Judge, images: Tensor) -> Tensor:
    """Images [B, 3, H, W] in [-1, 1] -> what the judge's last layer sees, averaged over the
    picture: float32 [B, 2 * width] on the CPU. Where things stand is lost in the average."""
    batches = [resized(batch.to(judge.whole.weight), judge.size) for batch in images.split(64)]
    return torch.cat([judge.layers(batch).mean(dim=(2, 3)).float().cpu() for batch in batches])


@torch.no_grad()
def clip_features(clip: CLIP, images: Tensor) -> Tensor:
    """Images [B, 3, H, W] in [-1, 1] -> CLIP's unit vectors, float32 [B, joint_width], CPU."""
    size = clip.config.image.image_size
    batches = [resized(batch.to(clip.logit_scale), size) for batch in images.split(64)]
    return torch.cat([clip.embed_image(batch).float().cpu() for batch in batches])


def thumbnails(images: Tensor, side: int = 8) -> Tensor:
    """Images [B, 3, H, W] in [-1, 1] -> the means of side x side fields, [B, 3 * side * side].

    No network: two pictures are near each other only where they look alike, place by place.
    """
    return F.adaptive_avg_pool2d(images.float().cpu(), side).flatten(1)


def in_bytes(values: Tensor) -> Tensor:
    """Numbers in [-1, 1] as 0 .. 255, to be kept small."""
    return ((values + 1) * 127.5).round().byte()


def from_bytes(kept: Tensor) -> Tensor:
    """0 .. 255 as numbers in [-1, 1], within 1/255 of what they were."""
    return kept / 127.5 - 1
