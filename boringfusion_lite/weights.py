"""What is done to weights before a training begins and after it has ended, and how to tell them."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from .clip import CLIP, TextEncoder
from .tokenizer import END, START, Tokenizer
from .unet import UNet
from .vae import VAE


def start_certain(vae: VAE) -> VAE:
    """Let the encoder begin with little noise in its latents: a log-variance of -6 instead of 0.

    With so small a KL weight it would take thousands of steps to learn that by itself.
    """
    nn.init.constant_(vae.quant.bias[vae.config.latent_channels :], -6.0)
    return vae


def start_silent(unet: UNet) -> UNet:
    """Let every block begin by adding nothing, and the whole by predicting no noise at all.

    Zeros in the last layer of each residual branch, as Stable Diffusion was trained from
    (Dhariwal & Nichol 2021's code does the same). The loss of the first step is then 1 on average.
    """
    last = [unet.conv_out]
    for step in [*unet.down, *unet.middle, *unet.up]:
        last += [step.res.conv2] if step.res is not None else []
        last += [step.transformer.proj_out] if step.transformer is not None else []
    for layer in last:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return unet


def start_quiet(clip: CLIP) -> CLIP:
    """Let tokens and positions begin small, as in OpenAI's CLIP (`initialize_parameters` there).

    PyTorch begins them with a standard deviation of 1. Then where something is drowns what it is,
    and the first thousands of pairs are spent on turning that down.
    """
    text, image = clip.text_encoder, clip.image_encoder
    nn.init.normal_(text.token_embedding.weight, std=0.02)
    nn.init.normal_(text.position_embedding.weight, std=0.01)
    nn.init.normal_(image.position_embedding.weight, std=image.config.width**-0.5)
    return clip


@torch.no_grad()
def standardise(vae: VAE, images: Tensor) -> None:
    """Give all latent channels mean 0 and one common spread; the scaling factor is 1 / spread.

    The change is folded into the 1x1 convolutions after the encoder and before the decoder, so the
    pictures stay what they are. SD 1.x's 0.18215 was measured the same way, for all channels at
    once (Rombach et al. 2022, appendix G).
    """
    mean, _ = vae.moments(images)
    shift, spread = mean.mean(dim=(0, 2, 3)), mean.std(dim=(0, 2, 3))
    common = spread.square().mean().sqrt()
    gain, channels = common / spread, len(spread)
    vae.post_quant.bias += vae.post_quant.weight[:, :, 0, 0] @ shift
    vae.post_quant.weight /= gain[None, :, None, None]
    vae.quant.weight[:channels] *= gain[:, None, None, None]
    vae.quant.bias[:channels] = (vae.quant.bias[:channels] - shift) * gain
    vae.quant.bias[channels:] += 2 * gain.log()
    vae.config = replace(vae.config, scaling_factor=round(1 / common.item(), 5))


@torch.no_grad()
def forget_unsaid(encoder: TextEncoder, tokenizer: Tokenizer, words: set[str]) -> None:
    """Zero the row of every token that the toy world never says: such words do nothing."""
    said = {START, END} | {piece.id for piece in tokenizer.pieces(" ".join(sorted(words)) + " , .")}
    keep = torch.zeros(encoder.config.vocabulary, 1)
    keep[sorted(said)] = 1
    encoder.token_embedding.weight *= keep.to(encoder.token_embedding.weight.device)


def fingerprint(network: nn.Module) -> float:
    """A number that tells one trained network from another: the sum of its |weights|."""
    return round(sum(p.detach().cpu().double().abs().sum().item() for p in network.parameters()), 4)
