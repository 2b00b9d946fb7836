"""What the tests share: a tiny random model on disk, one thread, and no network."""

import copy
import os
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import CLIP_CONFIG, TOKENIZER, UNET_CONFIG, VAE_CONFIG

import boringfusion_lite as bf
from boringfusion_lite import scenes, weights
from boringfusion_lite.captions import vocabulary
from boringfusion_lite.clip import CLIP
from boringfusion_lite.tokenizer import Tokenizer
from boringfusion_lite.unet import UNet
from boringfusion_lite.vae import VAE

torch.set_num_threads(1)

# No network, here and in every process that is started from here: kernels, JupyterLab, commands.
OFFLINE = Path(__file__).parent / "offline"
runpy.run_path(str(OFFLINE / "sitecustomize.py"))
os.environ["PYTHONPATH"] = os.pathsep.join([str(OFFLINE), os.environ.get("PYTHONPATH", "")])
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def tokenizer():
    return Tokenizer.load(TOKENIZER)


@pytest.fixture(scope="session")
def tiny_clip(tokenizer):
    """Random towers that know the words of the toy world and no others."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip = CLIP(CLIP_CONFIG).eval()
    weights.forget_unsaid(clip.text_encoder, tokenizer, vocabulary(scenes.STARTER))
    return clip


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory, tokenizer, tiny_clip):
    """A whole model of random weights as `bf.save` writes it: read it, but do not change it."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        unet, vae = UNet(UNET_CONFIG), VAE(VAE_CONFIG)
    parts = (tokenizer, tiny_clip.text_encoder, unet, vae, bf.Schedule.scaled_linear())
    folder = tmp_path_factory.mktemp("models") / "tiny"
    bf.save(bf.StableDiffusion(*parts), folder, tokenizer=TOKENIZER, clip=tiny_clip)
    return folder


@pytest.fixture(scope="session")
def tiny_sd(tiny_folder):
    return bf.load(tiny_folder)


@pytest.fixture
def sd(tiny_sd):
    """The tiny model with networks of its own, so that a test may do to them what it likes."""
    parts = ("text_encoder", "unet", "vae")
    return replace(tiny_sd, **{part: copy.deepcopy(getattr(tiny_sd, part)) for part in parts})
