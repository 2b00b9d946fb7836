"""What the diffusers layout calls our weights: one table of renames per network.

Every function takes one of our parameter names and returns the file's. One direction is enough:
loading looks each of our names up in the file, saving writes each under the other name.
"""

import re

from .unet import UNetConfig
from .vae import VAEConfig

RES = [(r"\.time\.", ".time_emb_proj."), (r"\.shortcut\.", ".conv_shortcut.")]

TRANSFORMER = [
    (r"\.block\.", ".transformer_blocks.0."),
    (r"\.self_attention\.", ".attn1."),
    (r"\.cross_attention\.", ".attn2."),
    (r"\.feed_forward\.project\.", ".ff.net.0.proj."),
    (r"\.feed_forward\.out\.", ".ff.net.2."),
]

ATTENTION = [(r"\.(q|k|v)\.", r".to_\1."), (r"\.out\.", ".to_out.0.")]


def rename(name: str, rules: list[tuple[str, str]]) -> str:
    """Apply ordered (regular expression, replacement) pairs to a parameter name."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def unet_places(config: UNetConfig) -> dict[str, str]:
    """Our step prefix -> diffusers' block prefix, e.g. "down.1.res" -> "down_blocks.0.resnets.0".

    We number the steps of the whole way down (and up) through; diffusers nests them by level.
    """
    levels, blocks = len(config.channels), config.blocks_per_level
    places = {"down.0.resample": "conv_in", "middle.0.res": "mid_block.resnets.0"}
    places["middle.0.transformer"] = "mid_block.attentions.0"
    places["middle.1.res"] = "mid_block.resnets.1"
    for level in range(levels):
        for block in range(blocks):
            ours, theirs = f"down.{1 + level * (blocks + 1) + block}", f"down_blocks.{level}"
            places[f"{ours}.res"] = f"{theirs}.resnets.{block}"
            places[f"{ours}.transformer"] = f"{theirs}.attentions.{block}"
        places[f"down.{(level + 1) * (blocks + 1)}.resample"] = f"{theirs}.downsamplers.0"
        for block in range(blocks + 1):
            ours, theirs = f"up.{level * (blocks + 1) + block}", f"up_blocks.{level}"
            places[f"{ours}.res"] = f"{theirs}.resnets.{block}"
            places[f"{ours}.transformer"] = f"{theirs}.attentions.{block}"
            places[f"{ours}.resample"] = f"{theirs}.upsamplers.0"
    return places


def unet_to_diffusers(name: str, config: UNetConfig) -> str:
    """A parameter name of our UNet -> its name in diffusers' UNet2DConditionModel."""
    step = re.match(r"(down|middle|up)\.\d+\.(resample|res|transformer)", name)
    if step:
        name = unet_places(config)[step.group()] + name[step.end() :]
    top = [(r"^time\.linear(\d)", r"time_embedding.linear_\1"), (r"^norm_out", "conv_norm_out")]
    return rename(name, top + RES + TRANSFORMER + ATTENTION)


OLD_ATTENTION = [  # how diffusers called the VAE's attention up to version 0.16
    (r"\.query\.", ".to_q."),
    (r"\.key\.", ".to_k."),
    (r"\.value\.", ".to_v."),
    (r"\.proj_attn\.", ".to_out.0."),
]


def vae_to_diffusers(name: str, config: VAEConfig) -> str:
    """A parameter name of our VAE -> its name in diffusers' AutoencoderKL."""
    down, up = config.blocks_per_level, config.blocks_per_level + 1
    rules = [
        (r"^quant", "quant_conv"),
        (r"^post_quant", "post_quant_conv"),
        (r"\.norm_out\.", ".conv_norm_out."),
        (r"\.middle\.0\.", ".mid_block.resnets.0."),
        (r"\.middle\.1\.norm", ".mid_block.attentions.0.group_norm"),
        (r"\.middle\.1\.attention", ".mid_block.attentions.0"),
        (r"\.middle\.2\.", ".mid_block.resnets.1."),
        (rf"encoder\.levels\.(\d)\.{down}\.", r"encoder.down_blocks.\1.downsamplers.0."),
        (rf"decoder\.levels\.(\d)\.{up}\.", r"decoder.up_blocks.\1.upsamplers.0."),
        (r"encoder\.levels\.(\d)\.(\d)", r"encoder.down_blocks.\1.resnets.\2"),
        (r"decoder\.levels\.(\d)\.(\d)", r"decoder.up_blocks.\1.resnets.\2"),
    ]
    return rename(name, rules + RES + ATTENTION)


TOWER = [
    (r"\.norm1\.", ".layer_norm1."),
    (r"\.norm2\.", ".layer_norm2."),
    (r"\.mlp_in\.", ".mlp.fc1."),
    (r"\.mlp_out\.", ".mlp.fc2."),
    (r"\.attention\.(q|k|v|out)\.", r".self_attn.\1_proj."),
    (r"^layers", "encoder.layers"),
    (r"^(token|position)_embedding", r"embeddings.\1_embedding"),
    (r"^class_embedding", "embeddings.class_embedding"),
    (r"^patches", "embeddings.patch_embedding"),
    (r"^final_norm", "final_layer_norm"),
    (r"^norm_in", "pre_layrnorm"),  # their spelling, fixed by a million files
    (r"^norm_out", "post_layernorm"),
]


def text_encoder_to_transformers(name: str, config=None) -> str:
    """A parameter name of our TextEncoder -> its name in files of transformers' CLIPTextModel."""
    return "text_model." + rename(name, TOWER)


def clip_to_transformers(name: str, config=None) -> str:
    """A parameter name of our whole CLIP -> its name in files of transformers' CLIPModel."""
    for ours, theirs in (("text_encoder.", "text_model."), ("image_encoder.", "vision_model.")):
        if name.startswith(ours):
            return theirs + rename(name.removeprefix(ours), TOWER)
    return name.replace("image_projection", "visual_projection")
