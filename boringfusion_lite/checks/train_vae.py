"""The exercises of page 10: the KL divergence, a draw with gradients, the scaling factor.

None of them needs trained weights; the last is tried on a stand-in for a VAE whose pictures differ
in brightness, as pictures do.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .verdict import Wrong, ask, checks, expect


def _drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@checks
def check_kl(yours) -> str:
    """`yours(mean, logvar)` is the KL divergence of every number from N(0, 1), of their shape."""
    known = torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 0.1]])  # means, standard deviations
    cases = [(known[0], 2 * known[1].log()), (_drawn(0, 2, 4, 3, 5), _drawn(1, 2, 4, 3, 5))]
    for mean, logvar in cases:
        answer = ask(yours, mean, logvar)
        if not isinstance(answer, Tensor):
            raise Wrong(f"A tensor is asked for, not {type(answer).__name__}.")
        kl = (mean.square() + logvar.exp() - 1 - logvar) / 2
        if answer.shape != kl.shape:
            raise Wrong(
                f"The shape is {list(answer.shape)}; expected {list(kl.shape)}, a number for each "
                "number. The mean or the sum is taken afterwards."
            )
        causes = {
            "It is twice too large: the half is missing.": 2 * kl,
            "The variance is exp(logvar); you took the log-variance for it.": (
                (mean.square() + logvar - 1 - logvar.abs().log()) / 2
            ),
            "exp(logvar) is the variance; exp(logvar / 2) would be the standard deviation.": (
                (mean.square() + (logvar / 2).exp() - 1 - logvar) / 2
            ),
            "exp(logvar) is the variance already; do not square it.": (
                (mean.square() + (2 * logvar).exp() - 1 - logvar) / 2
            ),
            "The sign is wrong: a divergence is never below 0.": -kl,
            "The mean has to be squared.": (mean + logvar.exp() - 1 - logvar) / 2,
            "The 1 is missing: at mean 0 and std 1 the divergence is 0.": kl + 0.5,
        }
        expect(answer, kl, "the KL divergence", causes, tolerance=1e-4)
    return "0 for (0, 1), 0.5 for (1, 1), 1.81 nats for (0, 0.1)"


# ---- two stars: a draw with gradients ------------------------------------------------------------


@checks
def check_draw(yours) -> str:
    """`yours(mean, logvar, generator)` draws from the cloud; it is the mean without a generator."""
    for seed, (centre, spread) in enumerate(((3.0, 0.2), (-1.0, 2.5))):
        mean = torch.full((40, 50), centre, requires_grad=True)
        logvar = torch.full((40, 50), 2 * torch.tensor(spread).log().item(), requires_grad=True)
        still = ask(yours, mean, logvar, None)
        if not isinstance(still, Tensor) or still.shape != mean.shape:
            raise Wrong("A tensor of the shape of the mean is asked for.")
        if not torch.equal(still, mean):
            raise Wrong("Without a generator nothing is drawn: the answer is the mean itself.")
        with torch.enable_grad():
            z = yours(mean, logvar, torch.Generator().manual_seed(seed))
            again = yours(mean, logvar, torch.Generator().manual_seed(seed))
        _spread_right(z.detach(), centre, spread)
        if not torch.equal(z, again):
            raise Wrong("Two draws from the same seed differ: use the generator that you get.")
        _gradients_right(z, mean, logvar)
    return "it has the right spread, and gradients reach mean and log-variance"


def _spread_right(z: Tensor, centre: float, spread: float) -> None:
    found = z.std().item()
    for reason, wrong in {
        "exp(logvar) is the variance: its root, exp(logvar / 2), is the spread.": spread**2,
        "The noise is added as it is: multiply it by the spread.": 1.0,
        "The log-variance is multiplied as it is: take exp(logvar / 2) first.": abs(
            2 * torch.tensor(spread).log().item()
        ),
        "Nothing is drawn: all numbers are the mean.": 0.0,
    }.items():
        if abs(found - spread) > 0.1 * spread and abs(found - wrong) <= 0.1 * wrong:
            raise Wrong(f"The draws have std {found:.2f} and should have {spread}. {reason}")
    if abs(found - spread) > 0.1 * spread:
        raise Wrong(f"The draws have std {found:.2f} and should have {spread}.")
    if abs(z.mean().item() - centre) > 0.1 * spread:
        raise Wrong(f"The draws lie around {z.mean():.2f} and should lie around {centre}.")


def _gradients_right(z: Tensor, mean: Tensor, logvar: Tensor) -> None:
    """The gradient of the mean is 1, that of the log-variance half the distance from it."""
    lost = (
        "The path of the gradients is cut: no `.detach()`, no `.data`, no `torch.no_grad()`; and "
    )
    lost += "`torch.normal` has no gradient, so draw noise and shift and stretch it."
    if not z.requires_grad:
        raise Wrong(lost)
    gradients = torch.autograd.grad(z.sum(), (mean, logvar), allow_unused=True)
    for gradient, name in zip(gradients, ("mean", "logvar")):
        if gradient is None:
            raise Wrong(f"No gradient reaches `{name}`. {lost}")
    wanted = torch.ones_like(mean), (z - mean).detach() / 2
    for gradient, right, name in zip(gradients, wanted, ("mean", "logvar")):
        if not torch.allclose(gradient, right, atol=1e-4):
            raise Wrong(f"The gradient of `{name}` is not that of mean + exp(logvar / 2) * noise.")


# ---- three stars: the scaling factor -------------------------------------------------------------


@dataclass(frozen=True)
class StandIn:
    """Encodes by averaging and mixing colours into four channels, and decodes by enlarging."""

    seed: int
    size: float  # of the raw latents

    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, H, W] -> mean and log-variance [B, 4, H/8, W/8]."""
        mean = F.conv2d(F.avg_pool2d(images, 8), self.size * _drawn(self.seed, 4, 3, 1, 1))
        return mean, torch.full_like(mean, -2.0)

    def post_quant(self, z: Tensor) -> Tensor:
        return z + 0.3

    def decoder(self, z: Tensor) -> Tensor:
        """Unscaled latents -> images that depend on their size: no factor goes unnoticed."""
        mixed = F.conv2d(z / self.size, _drawn(self.seed + 1, 3, 4, 1, 1) / 2)
        return F.interpolate(mixed, scale_factor=8.0).tanh()


def _pictures(seed: int, count: int) -> Tensor:
    """Images whose brightness differs more between them than within each."""
    g = torch.Generator().manual_seed(seed)
    light = 2 * torch.rand(count, 3, 1, 1, generator=g) - 1
    return light + 0.3 * torch.randn(count, 3, 48, 64, generator=g)


@checks
def check_scale(yours) -> str:
    """`yours(vae, images)` is (encode, decode): latents of std 1, and pictures from them."""
    for seed, size in ((0, 5.0), (4, 0.2)):
        vae, fresh = StandIn(seed, size), _pictures(seed + 2, 160)
        answer = ask(yours, vae, _pictures(seed + 3, 160))
        if not isinstance(answer, tuple) or len(answer) != 2 or not all(map(callable, answer)):
            raise Wrong("Two functions are asked for: `return encode, decode`.")
        encode, decode = answer
        _encodes_right(vae, encode, fresh)
        mean, _ = vae.moments(fresh)
        _decodes_right(vae, mean, encode(fresh), decode)
    return "std 1 on pictures it has not seen, divided by again on the way back"


def _encodes_right(vae: StandIn, encode: Callable, fresh: Tensor) -> None:
    mean, _ = vae.moments(fresh)
    latents = encode(fresh)
    if not isinstance(latents, Tensor) or latents.shape != mean.shape:
        raise Wrong(f"`encode` has to give latents of shape {list(mean.shape)}.")
    found = latents.std().item()
    if abs(found - 1) < 0.05:
        one = (latents * mean).sum() / mean.square().sum()
        if torch.allclose(latents, one * mean, atol=0.02):
            return
        raise Wrong(
            "The std is right, yet the latents are not the means times one number: one factor for "
            "all channels, nothing subtracted, nothing drawn."
        )
    single = mean.std(dim=(1, 2, 3)).mean()
    for reason, factor in {
        "You averaged the stds of single pictures; how pictures differ from each other counts too: "
        "take one std over all numbers.": 1 / single,
        "You took the variance; divide by its root.": 1 / mean.var(),
        "You multiplied by the std; divide by it.": mean.std(),
        "The latents are not scaled at all.": torch.tensor(1.0),
    }.items():
        if abs(found / (mean.std() * factor).item() - 1) < 0.1:
            raise Wrong(f"The std of new latents is {found:.3g} instead of 1. {reason}")
    raise Wrong(f"The std of new latents is {found:.3g} instead of 1.")


def _decodes_right(vae: StandIn, mean: Tensor, latents: Tensor, decode: Callable) -> None:
    """`Wrong` unless `decode` undoes the scaling and decodes."""
    factor = (latents * mean).sum() / mean.square().sum()
    causes = {
        "The latents are multiplied on both sides; on the way back, divide.": latents * factor,
        "The latents come to the decoder as they are; divide by the factor first.": latents,
    }
    outcomes = {reason: vae.decoder(vae.post_quant(z)) for reason, z in causes.items()}
    outcomes["`post_quant` is missing: it comes before the decoder."] = vae.decoder(mean)
    expect(decode(latents), vae.decoder(vae.post_quant(mean)), "`decode`", outcomes, 1e-3)
