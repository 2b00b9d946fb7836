"""The networks as earlier runs have left them, or a published model: what later ones build on."""

import argparse
from pathlib import Path

import torch
from torch import nn

from . import recipes, sharpening, weights
from .checkpoint import load_clip, load_unet, load_vae
from .clip import CLIP
from .dataset import Pictures
from .training import check_company
from .unet import UNet
from .vae import VAE


def state(name: str, runs: Path) -> dict:
    """The checkpoint of an earlier run; FileNotFoundError says which command makes it."""
    file = runs / f"{name}.pt"
    if not file.exists():
        raise FileNotFoundError(
            f"{file} is missing: train that part first, "
            f"`python -m boringfusion_lite.train {name} --runs {runs}`, or take it from a "
            "published model: --start-from, also in every later call."
        )
    return torch.load(file, map_location="cpu", weights_only=True)


def is_published(name: str, args: argparse.Namespace) -> bool:
    """Whether a part is that of the model to start from: so it is where none was trained here."""
    return bool(args.start_from) and not (args.runs / f"{name}.pt").exists()


def averaged(name: str, model: nn.Module, args: argparse.Namespace) -> nn.Module:
    """The model with the averaged weights of a run."""
    model.load_state_dict(state(name, args.runs)["average"])
    return model


def first_vae(args: argparse.Namespace) -> VAE:
    """The VAE as its own training has left it."""
    if is_published("vae", args):
        return load_vae(args.start_from / "vae").float()
    return averaged("vae", VAE(recipes.TINY_VAE), args)


def finished_vae(pictures: Pictures, args: argparse.Namespace) -> VAE:
    """The trained VAE, its latents brought to a common scale measured on a thousand pictures."""
    vae = first_vae(args)
    if (args.runs / "vae-again.pt").exists():
        again = state("vae-again", args.runs)["average"]
        vae.load_state_dict(sharpening.with_decoder(vae.state_dict(), again))
    if not is_published("vae", args):
        weights.standardise(vae, pictures.images(range(min(1000, len(pictures)))))
    return vae.to(args.device).eval()


def finished_clip(args: argparse.Namespace) -> CLIP:
    if is_published("clip", args):
        return load_clip(args.start_from).float()
    return averaged("clip", CLIP(recipes.TINY_CLIP), args)


def finished_denoiser(vae: VAE, args: argparse.Namespace) -> "Denoiser":
    """UNet and CLIP, from one training; ValueError where it used the latents of another VAE."""
    if is_published("unet", args):
        unet, clip = load_unet(args.start_from / "unet"), load_clip(args.start_from)
        return Denoiser(unet.float(), clip.float())
    check_company(args.runs / "unet.pt", state("unet", args.runs), company(vae, args))
    return averaged("unet", Denoiser(UNet(recipes.TINY_UNET), CLIP(recipes.TINY_CLIP)), args)


def company(vae: VAE, args: argparse.Namespace) -> dict:
    """What a UNet has learned to live with: the encoder of its latents, and a world."""
    return {"encoder": weights.fingerprint(vae.encoder), "world": args.world}


class Denoiser(nn.Module):
    """UNet and CLIP as one thing to train, or with CLIP left as it was made."""

    def __init__(self, unet: UNet, clip: CLIP, train_text: bool = True):
        super().__init__()
        self.unet, self.clip = unet, clip.requires_grad_(train_text)
