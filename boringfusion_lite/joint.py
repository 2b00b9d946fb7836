"""UNet and CLIP learn from one sum: what the text tower says has to draw, and to find pictures."""

from dataclasses import dataclass

from torch import Tensor

from .processes import WHOLE, Share
from .recipes import CLIPLoss, UNetLoss


@dataclass
class JointLoss:
    """The UNet's loss, and a tenth of CLIP's beside it: four pairs for every noisy latent.

    The text tower learns with the UNet, which reads its every row; left alone with that, it stops
    saying the thing in the row of the end token, the only one by which CLIP finds pictures. The
    image tower follows as the text changes. A batch may come in pieces: CLIP compares all its pairs
    at once, beside the last.
    """

    denoising: UNetLoss
    contrast: CLIPLoss
    weight: float = 0.1

    def __post_init__(self):
        self.batch = self.denoising.batch

    @property
    def batch(self) -> int:
        """Noisy latents in a step."""
        return self.denoising.batch

    @batch.setter
    def batch(self, samples: int) -> None:
        self.denoising.batch, self.contrast.batch = samples, 4 * samples

    def __call__(self, step: int, progress: float, share: Share = WHOLE) -> tuple[Tensor, int]:
        loss, samples = self.denoising(step, progress, share)
        if share.piece == share.pieces - 1:
            contrast, _ = self.contrast(step, progress, Share(share.team))
            loss = loss + share.pieces * self.weight * contrast
        return loss, samples
