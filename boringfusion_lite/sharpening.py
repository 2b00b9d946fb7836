"""A better decoder for latents that stay as they are, so that a UNet trained on them stays valid.

    python -m boringfusion_lite.train vae-again             # from the reconstruction alone
    python -m boringfusion_lite.train vae-again --critic    # sharper, and further from the original

The encoder is frozen; decoder and `post_quant` go on learning. Stability AI's "ft-MSE" decoder for
SD 1.x was made this way.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .clip import ImageEncoder
from .dataset import Pictures
from .discriminator import PatchDiscriminator, adaptive_weight, critic_loss, fooling_loss
from .feature_loss import FeatureLoss
from .recipes import VAELoss
from .vae import VAE

DECODER = ("decoder.", "post_quant.")  # what a UNet never sees


@dataclass
class Sharpness:
    """What is added to the reconstruction loss: features, the critic's view, the critic's lesson.

    The critic learns from the first step on; its say grows from `begins` on, over a tenth of a run.
    It is measured on each share of a batch, so in pieces the run differs a little from the whole.
    last: the weights of the decoder's last layer, on which the pulls are compared.
    """

    last: nn.Parameter
    features: FeatureLoss | None = None
    critic: PatchDiscriminator | None = None
    feature_weight: float = 0.5
    critic_weight: float = 0.1
    begins: float = 0.6

    def __call__(self, images: Tensor, output: Tensor, loss: Tensor, progress: float) -> Tensor:
        """Images, what they came back as, the reconstruction loss so far -> what to add to it."""
        extra = torch.zeros_like(loss)
        if self.features is not None:
            extra = extra + self.feature_weight * self.features(output, images)
        if self.critic is not None:
            if (grown := min(1, (progress - self.begins) / 0.1)) > 0:
                fooling = fooling_loss(self.critic, output)
                say = grown * self.critic_weight * adaptive_weight(loss, fooling, self.last)
                extra = extra + say * fooling
            extra = extra + critic_loss(self.critic(images), self.critic(output.detach()))
        return extra


class Decoding(nn.Module):
    """A VAE whose encoder stays as it is, and its critic if it has one: `average["vae...."]`."""

    def __init__(self, vae: VAE, critic: PatchDiscriminator | None = None):
        super().__init__()
        self.vae, self.critic = vae, critic
        vae.encoder.requires_grad_(False)
        vae.quant.requires_grad_(False)


def contest(
    vae: VAE, tower: ImageEncoder, pictures: Pictures, device: torch.device
) -> tuple[Decoding, VAELoss]:
    """The VAE and a critic, and the loss of both, with a distance between the tower's features."""
    both = Decoding(vae, PatchDiscriminator()).to(device)
    extra = Sharpness(vae.decoder.conv_out.weight, FeatureLoss(tower).to(device), both.critic)
    return both, VAELoss(vae, pictures, device, extra=extra)


def with_decoder(first: dict[str, Tensor], again: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a VAE, and in place of its decoder the one that was trained further.

    ValueError where that began from another encoder: its decoder reads other latents.
    """
    later = {n.removeprefix("vae."): w for n, w in again.items() if n.startswith("vae.")}
    if any(not torch.equal(w, later[n]) for n, w in first.items() if not n.startswith(DECODER)):
        raise ValueError(
            "vae-again.pt belongs to another VAE: its decoder reads other latents. Delete it, and "
            "for one that fits: `python -m boringfusion_lite.train vae-again`."
        )
    return later
