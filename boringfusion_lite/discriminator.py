"""A critic that tells drawn patches from decoded ones, so that a decoder learns to be sharp.

Where a cell leaves open how an edge runs, the smallest squared error is the mean of all edges, a
blur. A critic sees that no drawing is blurred (Isola et al. 2017, section 3.2, "PatchGAN"). How
much it has a say is set anew in every step, from the gradients (Esser et al. 2021, equation 7).
Left out: the batch norm of both papers, which makes a picture's score depend on its neighbours.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """Images [B, 3, H, W] -> a score for every patch [B, 1, H/8 - 2, W/8 - 2]; high: looks drawn.

    Each score depends on 70 x 70 pixels, but for the group norms, which see all a little.
    """

    def __init__(self, width: int = 32, groups: int = 8):
        super().__init__()
        layers = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for times, stride in ((1, 2), (2, 2), (4, 1)):
            layers += [
                nn.Conv2d(times * width, 2 * times * width, 4, stride, padding=1, bias=False),
                nn.GroupNorm(groups, 2 * times * width),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        if min(images.shape[-2:]) < 24:
            raise ValueError(
                f"images are {list(images.shape)}: a critic of patches needs sides of at least 24 "
                "pixels, else no patch is left. Use larger pictures or squares."
            )
        return self.layers(images)


def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of the critic: real scores should pass 1, fake ones -1, further is no use.

    1 where it says 0 to everything, 0 at best (Lim & Ye 2017, with the half of Esser et al.'s code)
    """
    return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2


def fooling_loss(critic: nn.Module, images: Tensor) -> Tensor:
    """What a decoder lowers to be taken for a drawing: minus the mean score, its critic standing
    still. Gradients reach the images alone, so critic and decoder can share one optimiser step."""
    still = {name: weight.detach() for name, weight in critic.named_parameters()}
    return -torch.func.functional_call(critic, still, (images,)).mean()


def adaptive_weight(reconstruction: Tensor, fooling: Tensor, last: Tensor) -> Tensor:
    """How many times the one loss's pull on the last layer's weights is as strong as the other's.

    With this weight neither drowns the other, however large the critic's scores are. A number
    without gradient, at most 10,000 (Esser et al. 2021, equation 7).
    """
    wanted, given = (
        torch.autograd.grad(loss, last, retain_graph=True)[0].norm()
        for loss in (reconstruction, fooling)
    )
    return (wanted / (given + 1e-4)).clamp(max=1e4).detach()
