"""How different two pictures look to a network that knows pictures: a distance of its features.

Two sharp edges a pixel apart are a large error for squared differences and the same thing for the
eye. Networks trained to recognise are closer to the eye (Zhang et al. 2018, "LPIPS", on AlexNet and
VGG). Ours is CLIP's image tower, the one that page 09 trains, so nothing is downloaded.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .clip import ImageEncoder


class FeatureLoss(nn.Module):
    """The mean squared distance of unit feature vectors, over all places and layers; 0 to 4.

    The tower stays as it is. Pictures of another size than it was trained on are resized.
    """

    def __init__(self, tower: ImageEncoder):
        super().__init__()
        self.tower = tower.requires_grad_(False).eval()

    def features(self, images: Tensor) -> list[Tensor]:
        """Images [B, 3, H, W] in [-1, 1] -> one unit vector a patch, [B, patches, width], for each
        layer of the tower."""
        tower, size = self.tower, (self.tower.config.image_size,) * 2
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bilinear")
        patches = tower.patches(images).flatten(2).transpose(1, 2)
        start = tower.class_embedding.expand(len(images), 1, -1)
        x = torch.cat([start, patches], dim=1) + tower.position_embedding.weight
        x, found = tower.norm_in(x), []
        for layer in tower.layers:
            x = layer(x)
            found.append(F.normalize(x[:, 1:].float(), dim=-1))
        return found

    def forward(self, images: Tensor, truth: Tensor) -> Tensor:
        pairs = zip(self.features(images), self.features(truth), strict=True)
        return sum((a - b).square().sum(dim=-1).mean() for a, b in pairs) / len(self.tower.layers)
