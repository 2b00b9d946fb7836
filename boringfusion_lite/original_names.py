"""What the original layout calls our weights: the one file in which SD 1.x and 2.x came out.

    model.diffusion_model.*   the UNet: input_blocks, middle_block, output_blocks
    first_stage_model.*       the VAE: encoder.down, encoder.mid, decoder.mid, decoder.up
    cond_stage_model.*        the text encoder: transformer.* with the names of transformers in
                              SD 1.x, model.* with those of OpenCLIP in SD 2.x

As in `names.py`, a table of renames takes one of our names to the file's, and one direction is
enough. What else lies in such files, no network here has a use for; EXTRAS knows it by name.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from .clip import TextConfig
from .names import ATTENTION, TRANSFORMER, rename, text_encoder_to_transformers
from .unet import UNetConfig
from .vae import VAEConfig

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."

EXTRAS = [
    r"model_ema\..*",  # the UNet's average over its training, under names without dots
    r"(betas|alphas_cumprod.*|sqrt_.*|log_one_minus_alphas_cumprod|posterior_.*)",  # the schedule
    r"(logvar|lvlb_weights|scale_factor)",  # of the training's loss
    r"first_stage_model\.(loss|model_ema)\..*",
    r"(cond_stage_model\.)?embedding_manager\..*",
    r"cond_stage_model\.transformer\.(text_model\.)?embeddings\.position_ids",
    r"cond_stage_model\.(transformer\.|model\.)?(logit_scale|text_projection(\.weight)?)",
    r"cond_stage_model\.model\.(attn_mask|transformer\.resblocks\.23\..*)",  # SD 2.x ends at 22
]

STEPS = [
    (r"\.res\.norm1\.", ".res.in_layers.0."),
    (r"\.res\.conv1\.", ".res.in_layers.2."),
    (r"\.res\.time\.", ".res.emb_layers.1."),
    (r"\.res\.norm2\.", ".res.out_layers.0."),
    (r"\.res\.conv2\.", ".res.out_layers.3."),
    (r"\.res\.shortcut\.", ".res.skip_connection."),
    (r"^down\.0\.resample\.", "input_blocks.0.0."),
    (r"^down\.(\d+)\.res\.", r"input_blocks.\1.0."),
    (r"^down\.(\d+)\.transformer\.", r"input_blocks.\1.1."),
    (r"^down\.(\d+)\.resample\.conv\.", r"input_blocks.\1.0.op."),
    (r"^middle\.0\.res\.", "middle_block.0."),
    (r"^middle\.0\.transformer\.", "middle_block.1."),
    (r"^middle\.1\.res\.", "middle_block.2."),
    (r"^up\.(\d+)\.res\.", r"output_blocks.\1.0."),
    (r"^up\.(\d+)\.transformer\.", r"output_blocks.\1.1."),
]
ENDS = [
    (r"^time\.linear1\.", "time_embed.0."),
    (r"^time\.linear2\.", "time_embed.2."),
    (r"^norm_out\.", "out.0."),
    (r"^conv_out\.", "out.2."),
]


def unet_to_original(name: str, config: UNetConfig) -> str:
    """A parameter name of our UNet -> its name in the original layout, whose steps count as ours.

    A step's parts are numbered in it, so an upsampling is part 2 after a transformer and else 1.
    """

    def upsampling(found: re.Match) -> str:
        level = len(config.channels) - 1 - int(found[1]) // (config.blocks_per_level + 1)
        return f"output_blocks.{found[1]}.{2 if config.attention[level] else 1}.conv."

    rules = TRANSFORMER + ATTENTION + STEPS + [(r"^up\.(\d+)\.resample\.conv\.", upsampling)]
    return UNET + rename(name, ENDS + rules)


def vae_to_original(name: str, config: VAEConfig) -> str:
    """A parameter name of our VAE -> its name in the original layout.

    There the decoder's levels are numbered by size, the largest 0, and so last to be run.
    """
    down, up = config.blocks_per_level, config.blocks_per_level + 1

    def decoder_level(found: re.Match) -> str:
        return f"decoder.up.{len(config.channels) - 1 - int(found[1])}."

    rules = [
        (r"^(post_)?quant\.", r"\1quant_conv."),
        (r"\.shortcut\.", ".nin_shortcut."),
        (r"\.middle\.0\.", ".mid.block_1."),
        (r"\.middle\.1\.attention\.out\.", ".mid.attn_1.proj_out."),
        (r"\.middle\.1\.(attention\.)?", ".mid.attn_1."),
        (r"\.middle\.2\.", ".mid.block_2."),
        (r"^encoder\.levels\.(\d+)\.", r"encoder.down.\1."),
        (r"^decoder\.levels\.(\d+)\.", decoder_level),
        (rf"^(encoder\.down\.\d+)\.{down}\.conv\.", r"\1.downsample.conv."),
        (rf"^(decoder\.up\.\d+)\.{up}\.conv\.", r"\1.upsample.conv."),
        (r"^(encoder\.down|decoder\.up)\.(\d+)\.(\d+)\.", r"\1.\2.block.\3."),
    ]
    return VAE + rename(name, rules)


OPEN_CLIP_NAMES = [
    (r"^position_embedding\.weight", "positional_embedding"),
    (r"^final_norm\.", "ln_final."),
    (r"^layers\.", "transformer.resblocks."),
    (r"\.norm([12])\.", r".ln_\1."),
    (r"\.mlp_in\.", ".mlp.c_fc."),
    (r"\.mlp_out\.", ".mlp.c_proj."),
    (r"\.attention\.out\.", ".attn.out_proj."),
    (r"\.attention\.(q|k|v)\.", r".attn.\1."),  # three thirds of one tensor; see `in_thirds`
]


def text_encoder_to_original(name: str, config: TextConfig) -> str:
    """A parameter name of our text encoder -> its name in the original layout.

    "gelu" marks the tower of SD 2.x, which was trained with OpenCLIP.
    """
    if config.activation == "gelu":
        return OPEN_CLIP + rename(name, OPEN_CLIP_NAMES)
    return CLIP + text_encoder_to_transformers(name)


PARTS = {
    "text_encoder": text_encoder_to_original,
    "unet": unet_to_original,
    "vae": vae_to_original,
}


def to_original(name: str, configs: Mapping) -> str:
    """A parameter name of the whole model, such as "unet.conv_out.bias" -> that of the file."""
    part, _, rest = name.partition(".")
    return PARTS[part](rest, configs[part])


def without_extras(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The networks' own weights, under the names that `to_original` gives, older spellings too."""
    extra = re.compile("|".join(EXTRAS))
    kept = {name: t for name, t in tensors.items() if not extra.fullmatch(name)}
    full = re.compile(
        rf"^{re.escape(CLIP)}(?!text_model\.)"
    )  # transformers 5 names its root no more
    return in_thirds({full.sub(f"{CLIP}text_model.", name): t for name, t in kept.items()})


# ---- shapes that differ, with the same numbers ---------------------------------------------------

IN_PROJ = re.compile(rf"({re.escape(OPEN_CLIP)}.*\.attn)\.in_proj_(weight|bias)")
THIRD = re.compile(rf"({re.escape(OPEN_CLIP)}.*\.attn)\.([qkv])\.(weight|bias)")
CONV = re.compile(r"\.mid\.attn_1\.(q|k|v|proj_out)\.weight$")  # 1x1 convolutions in the VAE
LINEAR = re.compile(r"\.1\.proj_(in|out)\.weight$")  # and in SD 1.x's UNet, but not in SD 2.x's


def in_thirds(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenCLIP's attention has q, k and v in one tensor [3 * width, ...]: cut it into the three."""
    cut = {}
    for name, tensor in tensors.items():
        if whole := IN_PROJ.fullmatch(name):
            thirds = zip("qkv", tensor.chunk(3))
            cut |= {f"{whole[1]}.{part}.{whole[2]}": third for part, third in thirds}
        else:
            cut[name] = tensor
    return cut


def as_original(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The original layout's shapes for tensors that have its names; undoes `in_thirds`."""
    second = any(name.startswith(OPEN_CLIP) for name in tensors)  # SD 2.x
    shaped: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if third := THIRD.fullmatch(name):
            if third[2] == "q":
                rows = [tensors[f"{third[1]}.{part}.{third[3]}"] for part in "qkv"]
                shaped[f"{third[1]}.in_proj_{third[3]}"] = torch.cat(rows)
        elif CONV.search(name):
            shaped[name] = tensor[:, :, None, None]
        elif second and LINEAR.search(name):
            shaped[name] = tensor[:, :, 0, 0]
        else:
            shaped[name] = tensor
    return shaped
