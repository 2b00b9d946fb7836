"""Models on disk, in either of their two layouts, to the same modules (`saving.py` writes both).

One file in the original layout (`original_names.py`), .safetensors or .ckpt; or a folder in that of
diffusers (`names.py`):

    tiny-sd/
      model_index.json                    which part is of which kind
      tokenizer/                          vocab.json, merges.txt
      text_encoder/  unet/  vae/          config.json and weights, in shards if they are big
      scheduler/                          the noise schedule
      clip/                               ours: CLIP's image tower and projections; SD 1.x has none

The way is one: `weight_files` maps the file into memory, `families` says what it is, the settings
say which networks to build, without memory of their own, and `fitting` puts the tensors in.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import families, names, original_names, original_settings, settings
from .clip import CLIP, TextEncoder
from .fitting import fill
from .pipeline import StableDiffusion
from .runtime import model_folder, pick_device
from .schedule import Schedule
from .tokenizer import Tokenizer
from .unet import UNet
from .vae import VAE
from .weight_files import WEIGHTS, read, read_folder

__all__ = ["WEIGHTS", "load", "load_clip"]


def read_json(file: Path) -> dict:
    """A JSON file as a dict; FileNotFoundError or ValueError names the file and the cure."""
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} is missing. A model is a folder in the diffusers layout: model_index.json, "
            "tokenizer, text_encoder, unet, vae and scheduler. Copy it again."
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}): copy it again.") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds a {type(content).__name__}, not settings: copy it again.")
    return content


def read_settings(file: Path, reader: Callable[[dict], Any]):
    """What `reader` makes of a JSON file, networks without their weights (on the meta device).

    ValueError names the file and what it lacks.
    """
    content = read_json(file)
    try:
        with torch.device("meta"):
            return reader(content)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file} lacks a setting, or one makes no sense ({type(error).__name__}: {error}). "
            "Copy it again from the model that the weights beside it belong to."
        ) from None


def without_buffers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Text tensors with `text_model.` in front, and without the position_ids of older files."""
    prefixed = {
        name if name.startswith("text_model.") else f"text_model.{name}": tensor
        for name, tensor in tensors.items()
    }
    prefixed.pop("text_model.embeddings.position_ids", None)
    return prefixed


def load_text_encoder(folder: Path, variant: str | None = None, **place) -> TextEncoder:
    model = read_settings(folder / "config.json", lambda c: TextEncoder(settings.text_config(c)))
    tensors = without_buffers(read_folder(folder, variant))
    fill(model, tensors, names.text_encoder_to_transformers, folder, place)
    return model


def load_unet(folder: Path, variant: str | None = None, **place) -> UNet:
    model = read_settings(folder / "config.json", lambda c: UNet(settings.unet_config(c)))
    tensors = read_folder(folder, variant)
    fill(model, tensors, lambda n: names.unet_to_diffusers(n, model.config), folder, place)
    return model


def colours_together(vae: VAE) -> VAE:
    """All channels of a pixel side by side in memory: convolutions of few channels go faster."""
    return vae.to(memory_format=torch.channels_last)


def load_vae(folder: Path, variant: str | None = None, **place) -> VAE:
    model = read_settings(folder / "config.json", lambda c: VAE(settings.vae_config(c)))
    tensors = read_folder(folder, variant)
    tensors = {names.rename(name, names.OLD_ATTENTION): t for name, t in tensors.items()}
    fill(model, tensors, lambda n: names.vae_to_diffusers(n, model.config), folder, place)
    return colours_together(model)


def load(
    path: str | Path | None = None,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    variant: str | None = None,
) -> StableDiffusion:
    """Open a model: the bundled Tiny SD, that of BORINGFUSION_MODEL, or the one at `path`.

    path: a folder in the diffusers layout, or a single file in the original one, .safetensors or
    .ckpt. Device and dtype default to the best there is (`runtime.pick_device`): float32 on a CPU.
    variant: which of a folder's weights, such as "fp16" or "non_ema"; by default the plain ones,
    else fp16. FileNotFoundError or ValueError says which file is missing, damaged or foreign.
    """
    path = Path(path).expanduser() if path is not None else model_folder()
    device, default = pick_device(device)
    place = {"device": device, "dtype": dtype or default}
    if path.is_file():
        return load_file(path, **place)
    if not path.is_dir():
        raise FileNotFoundError(
            f"there is no model at {path}. Give the path of a .safetensors or .ckpt file, or of a "
            "folder in the diffusers layout (the one that holds model_index.json), or none for "
            "the bundled Tiny SD."
        )
    return load_folder(path, variant, **place)


def load_folder(folder: Path, variant: str | None = None, **place) -> StableDiffusion:
    """A model in the diffusers layout."""
    singles = [p.name for p in folder.iterdir() if p.suffix in (".safetensors", ".ckpt")]
    if singles and not (folder / "model_index.json").is_file():
        raise FileNotFoundError(
            f"{folder} is no model in the diffusers layout (it has no model_index.json), but "
            f"{', '.join(singles[:4])} in it might be one: give the path of that file."
        )
    index = read_json(folder / "model_index.json")
    settings.check("pipeline", index, {"_class_name": "StableDiffusionPipeline"})
    return StableDiffusion(
        tokenizer=Tokenizer.load(folder / "tokenizer"),
        text_encoder=load_text_encoder(folder / "text_encoder", variant, **place).eval(),
        unet=load_unet(folder / "unet", variant, **place).eval(),
        vae=load_vae(folder / "vae", variant, **place).eval(),
        schedule=read_settings(folder / "scheduler/scheduler_config.json", Schedule.from_config),
    )


def build(configs: dict, file: Path) -> nn.ModuleDict:
    """The three networks without their weights (on the meta device)."""
    try:
        with torch.device("meta"):
            return nn.ModuleDict(
                {
                    "text_encoder": TextEncoder(configs["text_encoder"]),
                    "unet": UNet(configs["unet"]),
                    "vae": VAE(configs["vae"]),
                }
            )
    except ValueError as error:
        raise ValueError(
            f"{file}: a model of these widths cannot have the heads and groups of Stable Diffusion "
            f"({error}). It is of another size, and lacks the note that bf.save leaves about that."
        ) from None


def load_file(file: Path, **place) -> StableDiffusion:
    """A model in one file of the original layout; its vocabulary is the bundled one."""
    tensors = read(file)
    family = families.check({name: tensor.shape for name, tensor in tensors.items()}, file)
    tensors = original_names.without_extras(tensors)
    configs = original_settings.read(file, tensors)
    networks = build(configs, file)
    fill(networks, tensors, lambda n: original_names.to_original(n, configs), file, place)
    colours_together(networks["vae"])
    tokenizer = Tokenizer.load()
    if family.name == families.SD_2:
        tokenizer.pad = 0
    return StableDiffusion(tokenizer, **networks.eval(), schedule=configs["schedule"])


def load_clip(path: str | Path | None = None) -> CLIP:
    """The whole CLIP that was trained for a Tiny SD, in float32 on the CPU.

    Its text tower is the model's `text_encoder`; `clip/` holds the rest. FileNotFoundError for a
    folder without it: Stable Diffusion needs no image tower to make pictures.
    """
    folder = Path(path) if path is not None else model_folder()
    file = folder / "clip" / "config.json"
    clip = read_settings(file, lambda content: CLIP(settings.clip_config(content)))
    tensors = without_buffers(read_folder(folder / "text_encoder")) | read_folder(folder / "clip")
    fill(clip, tensors, names.clip_to_transformers, folder / "clip")
    return clip.float().eval()
