"""Configurations of a model so small that its random weights cost nothing, for many tests."""

from boringfusion_lite.clip import CLIPConfig, ImageConfig, TextConfig
from boringfusion_lite.runtime import bundled_folder
from boringfusion_lite.unet import UNetConfig
from boringfusion_lite.vae import VAEConfig

TOKENIZER = bundled_folder() / "tokenizer"
CLIP_CONFIG = CLIPConfig(
    text=TextConfig(width=32, layers=2, heads=2),
    image=ImageConfig(image_size=64, patch=16, width=32, layers=1, heads=2),
    joint_width=16,
)
UNET_CONFIG = UNetConfig(
    sample_size=8,
    channels=(32, 64),
    attention=(True, False),
    heads=(2, 4),
    blocks_per_level=1,
    context_width=32,
    groups=8,
)
VAE_CONFIG = VAEConfig(
    sample_size=64, channels=(8, 8, 16, 16), blocks_per_level=1, groups=4, scaling_factor=0.7
)
