"""The settings of a single file, which has no config.json: read off its shapes, or off our note.

Shapes tell widths, levels and depths. They do not tell how many heads share a width, how many
channels a norm takes together, or which noise schedule the model was trained with; there Stable
Diffusion's own numbers hold. Models with other numbers, such as the bundled one, need a note:
`save` leaves it in the head of the file, where other programs pass it over. What an SD 2.x file
predicts, v or the noise, is known where the file has its name in `sources.py`.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from . import settings, sources, weight_files
from .clip import TextConfig
from .original_names import CLIP, OPEN_CLIP, UNET, VAE
from .schedule import Schedule
from .unet import UNetConfig
from .vae import VAEConfig

NOTE = "boringfusion_lite"  # the key of our note among a .safetensors file's metadata
HEAD = 64  # width of an attention head in every CLIP, and in the UNet of SD 2.x
V_TAKEN = (
    "an SD 2.x file does not say what its UNet predicts. v is taken, as in the models of 768 "
    "pixels; for one of 512 pixels (a base model) set "
    'sd.schedule = dataclasses.replace(sd.schedule, prediction_type="epsilon").'
)

Shapes = Mapping[str, Sequence[int]]


def read(file: Path, tensors: Mapping[str, Tensor]) -> dict:
    """The configs of the three networks and the schedule: from the file's note, else its shapes.

    tensors: the file's, as `without_extras` gives them. ValueError where either is incomplete.
    """
    note = weight_files.metadata(file).get(NOTE)
    try:
        if note is not None:
            return read_note(note)
        found = from_shapes({name: tensor.shape for name, tensor in tensors.items()})
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        lacks = "a layer of the network is missing" if note is None else "the note in it is damaged"
        raise ValueError(f"{file}: {lacks} ({error}). Fetch or save it again.") from None
    if known := sources.named(file.name):
        found["schedule"] = replace(found["schedule"], prediction_type=known.predicts)
    elif found["schedule"].prediction_type == "v_prediction":
        warnings.warn(V_TAKEN, stacklevel=4)
    return found


def write_note(
    text_encoder: TextConfig, unet: UNetConfig, vae: VAEConfig, schedule: Schedule
) -> str:
    """All settings as one line of JSON, each part's as its config.json in a folder would be."""
    return json.dumps(
        {
            "text_encoder": settings.text_json(text_encoder),
            "unet": settings.unet_json(unet),
            "vae": settings.vae_json(vae),
            "scheduler": schedule.to_config(),
        }
    )


def read_note(note: str) -> dict:
    """The configs of the three networks and the schedule out of `write_note`'s line."""
    content = json.loads(note)
    return {
        "text_encoder": settings.text_config(content["text_encoder"]),
        "unet": settings.unet_config(content["unet"]),
        "vae": settings.vae_config(content["vae"]),
        "schedule": Schedule.from_config(content["scheduler"]),
    }


def from_shapes(shapes: Shapes) -> dict:
    """The same four, from the shapes of a file's tensors, without those that are no weights.

    An SD 2.x file does not tell whether it predicts v, as its models of 768 pixels do, or the
    noise, as those of 512 pixels do: v is taken. KeyError where a layer is missing.
    """
    second = any(name.startswith(OPEN_CLIP) for name in shapes)
    return {
        "text_encoder": open_clip_config(shapes) if second else text_config(shapes),
        "unet": unet_config(shapes, second),
        "vae": vae_config(shapes, 768 if second else 512),
        "schedule": Schedule(prediction_type="v_prediction" if second else "epsilon"),
    }


def count(shapes: Shapes, pattern: str, first: int = 0) -> int:
    """The first number, from `first` up, that makes no name in the file when put into pattern."""
    number = first
    while pattern.format(number) in shapes:
        number += 1
    return number


def text_config(shapes: Shapes) -> TextConfig:
    """The text encoder of SD 1.x."""
    root = f"{CLIP}text_model."
    vocabulary, width = shapes[f"{root}embeddings.token_embedding.weight"]
    return TextConfig(
        vocabulary=vocabulary,
        length=shapes[f"{root}embeddings.position_embedding.weight"][0],
        width=width,
        layers=count(shapes, root + "encoder.layers.{}.layer_norm1.weight"),
        heads=max(1, width // HEAD),
    )


def open_clip_config(shapes: Shapes) -> TextConfig:
    """The text encoder of SD 2.x."""
    vocabulary, width = shapes[f"{OPEN_CLIP}token_embedding.weight"]
    return TextConfig(
        vocabulary=vocabulary,
        length=shapes[f"{OPEN_CLIP}positional_embedding"][0],
        width=width,
        layers=count(shapes, OPEN_CLIP + "transformer.resblocks.{}.ln_1.weight"),
        heads=max(1, width // HEAD),
        activation="gelu",
    )


def unet_config(shapes: Shapes, second: bool) -> UNetConfig:
    """The UNet: 8 heads at every level in SD 1.x, heads that are 64 wide in SD 2.x (`second`)."""
    downs = [n for n in range(100) if f"{UNET}input_blocks.{n}.0.op.weight" in shapes]
    first = [1, *(n + 1 for n in downs)]  # the first step of each level
    last = count(shapes, UNET + "input_blocks.{}.0.in_layers.2.weight", first=1)
    channels = tuple(shapes[f"{UNET}input_blocks.{n}.0.out_layers.3.weight"][0] for n in first)
    keys = f"{UNET}middle_block.1.transformer_blocks.0.attn2.to_k.weight"
    return UNetConfig(
        sample_size=96 if second else 64,
        latent_channels=shapes[f"{UNET}input_blocks.0.0.weight"][1],
        channels=channels,
        attention=tuple(f"{UNET}input_blocks.{n}.1.norm.weight" in shapes for n in first),
        heads=tuple(max(1, width // HEAD) if second else 8 for width in channels),
        blocks_per_level=(downs[0] if downs else last) - 1,
        context_width=shapes[keys][1],
    )


def vae_config(shapes: Shapes, sample_size: int) -> VAEConfig:
    """The VAE; its scaling factor is SD's 0.18215."""
    levels = count(shapes, VAE + "encoder.down.{}.block.0.conv1.weight")
    return VAEConfig(
        sample_size=sample_size,
        latent_channels=shapes[f"{VAE}post_quant_conv.weight"][0],
        channels=tuple(
            shapes[f"{VAE}encoder.down.{level}.block.0.conv1.weight"][0] for level in range(levels)
        ),
        blocks_per_level=count(shapes, VAE + "encoder.down.0.block.{}.conv1.weight"),
    )
