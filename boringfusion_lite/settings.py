"""What the diffusers layout calls our settings: `config.json` to our dataclasses and back.

A config that means another network than that of Stable Diffusion 1.x and 2.x is refused here, by
the setting that gives it away, before anything is built. Two settings of SD 2.x need no word of
ours: `use_linear_projection` (a linear layer over pixels is a 1x1 convolution) and
`upcast_attention` (the fused kernel adds up its scores in float32, whatever it is given).
"""

from .clip import ACTIVATIONS, CLIPConfig, ImageConfig, TextConfig
from .unet import UNetConfig
from .vae import VAEConfig


def check(part: str, config: dict, expected: dict) -> None:
    """Refuse a config that means another network; ValueError names the setting and its value.

    expected: the value that a setting must have, or a tuple of all that it may have.
    """
    for key, value in expected.items():
        allowed = value if isinstance(value, tuple) else (value,)
        if key in config and config[key] not in allowed:
            raise ValueError(
                f"this {part} has {key} = {config[key]!r}, Stable Diffusion 1.x and 2.x have "
                f"{' or '.join(map(repr, allowed))}: it belongs to another model family (SDXL, "
                "inpainting, ...), which this package cannot run. Use an SD 1.x or 2.x model."
            )


UNET_FIXED = {
    "_class_name": "UNet2DConditionModel",
    "in_channels": 4,
    "addition_embed_type": None,
    "class_embed_type": None,
    "num_attention_heads": None,
    "act_fn": "silu",
    "norm_eps": 1e-5,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "center_input_sample": False,
    "mid_block_scale_factor": 1,
}


def unet_config(config: dict) -> UNetConfig:
    """diffusers' unet/config.json -> UNetConfig. Their `attention_head_dim` counts heads.

    One number for all levels, as in SD 1.x, or one for each, as in SD 2.x: [5, 10, 20, 20].
    """
    check("UNet", config, UNET_FIXED)
    channels = tuple(config["block_out_channels"])
    heads = config.get("attention_head_dim", 8)
    return UNetConfig(
        sample_size=config.get("sample_size", 64),
        channels=channels,
        attention=tuple(kind.startswith("CrossAttn") for kind in config["down_block_types"]),
        heads=(heads,) * len(channels) if isinstance(heads, int) else tuple(heads),
        blocks_per_level=config["layers_per_block"],
        context_width=config["cross_attention_dim"],
        groups=config.get("norm_num_groups", 32),
    )


def unet_json(config: UNetConfig) -> dict:
    """UNetConfig -> what diffusers' UNet2DConditionModel reads."""
    down = ["CrossAttnDownBlock2D" if attend else "DownBlock2D" for attend in config.attention]
    up = ["CrossAttnUpBlock2D" if attend else "UpBlock2D" for attend in config.attention[::-1]]
    return UNET_FIXED | {
        "sample_size": config.sample_size,
        "out_channels": config.latent_channels,
        "block_out_channels": list(config.channels),
        "down_block_types": down,
        "up_block_types": up,
        "attention_head_dim": list(config.heads),
        "layers_per_block": config.blocks_per_level,
        "cross_attention_dim": config.context_width,
        "norm_num_groups": config.groups,
    }


VAE_FIXED = {
    "_class_name": "AutoencoderKL",
    "in_channels": 3,
    "latent_channels": 4,
    "act_fn": "silu",
    "shift_factor": None,
}


def vae_config(config: dict) -> VAEConfig:
    """diffusers' vae/config.json -> VAEConfig; without a scaling factor it is SD 1.x's 0.18215."""
    check("VAE", config, VAE_FIXED)
    return VAEConfig(
        sample_size=config.get("sample_size", 512),
        channels=tuple(config["block_out_channels"]),
        blocks_per_level=config["layers_per_block"],
        groups=config.get("norm_num_groups", 32),
        scaling_factor=config.get("scaling_factor", 0.18215),
    )


def vae_json(config: VAEConfig) -> dict:
    """VAEConfig -> what diffusers' AutoencoderKL reads."""
    levels = len(config.channels)
    return VAE_FIXED | {
        "sample_size": config.sample_size,
        "out_channels": 3,
        "block_out_channels": list(config.channels),
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": config.blocks_per_level,
        "norm_num_groups": config.groups,
        "scaling_factor": config.scaling_factor,
    }


def text_config(config: dict) -> TextConfig:
    """transformers' text_encoder/config.json -> TextConfig."""
    check("text encoder", config, {"hidden_act": tuple(ACTIVATIONS), "layer_norm_eps": 1e-5})
    return TextConfig(
        vocabulary=config["vocab_size"],
        length=config["max_position_embeddings"],
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        activation=config.get("hidden_act", "quick_gelu"),
    )


def tower_json(config: TextConfig | ImageConfig) -> dict:
    """What the two towers' settings have in common, in transformers' words."""
    return {
        "hidden_size": config.width,
        "intermediate_size": 4 * config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "layer_norm_eps": 1e-5,
        "dtype": "float32",  # what to compute in, however small the file
    }


def text_json(config: TextConfig) -> dict:
    """TextConfig -> what transformers' CLIPTextModel reads."""
    return tower_json(config) | {
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        "hidden_act": config.activation,
        "vocab_size": config.vocabulary,
        "max_position_embeddings": config.length,
        "bos_token_id": config.vocabulary - 2,
        "eos_token_id": config.vocabulary - 1,
        "pad_token_id": config.vocabulary - 1,
    }


def clip_json(config: CLIPConfig) -> dict:
    """CLIPConfig -> what transformers' CLIPModel reads."""
    image = tower_json(config.image) | {
        "hidden_act": "quick_gelu",
        "image_size": config.image.image_size,
        "patch_size": config.image.patch,
    }
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": config.joint_width,
        "text_config": text_json(config.text),
        "vision_config": image,
    }


def clip_config(config: dict) -> CLIPConfig:
    """transformers' clip/config.json -> CLIPConfig."""
    image = config["vision_config"]
    return CLIPConfig(
        text=text_config(config["text_config"]),
        image=ImageConfig(
            image_size=image["image_size"],
            patch=image["patch_size"],
            width=image["hidden_size"],
            layers=image["num_hidden_layers"],
            heads=image["num_attention_heads"],
        ),
        joint_width=config["projection_dim"],
    )
