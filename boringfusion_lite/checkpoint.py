"""Models on disk: a folder in the diffusers layout, read strictly (`saving.py` writes it).

    tiny-sd/
      model_index.json                    which part is of which kind
      tokenizer/                          vocab.json, merges.txt
      text_encoder/  unet/  vae/          config.json and .safetensors, in shards if they are big
      scheduler/                          the noise schedule
      clip/                               ours: CLIP's image tower and projections; SD 1.x has none

Strict means: every weight that the network has must be in the file with the right shape, and
nothing else may be there. Otherwise you get one error that names the differences.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from . import names, settings
from .clip import CLIP, TextEncoder
from .pipeline import StableDiffusion
from .runtime import model_folder, pick_device
from .schedule import Schedule
from .tokenizer import Tokenizer
from .unet import UNet
from .vae import VAE

WEIGHTS = ("diffusion_pytorch_model.safetensors", "model.safetensors")


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


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a part's .safetensors file or of its shards, memory-mapped."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            files = [folder / name]
            break
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = read_settings(index, lambda content: set(content["weight_map"].values()))
            files = [folder / shard for shard in sorted(shards)]
            break
    else:
        raise FileNotFoundError(
            f"{folder} holds no weights: expected {' or '.join(WEIGHTS)}, or its shards with an "
            "index. Copy the folder again."
        )
    tensors = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                tensors |= {name: opened.get_tensor(name) for name in opened.keys()}
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{file} is missing, although the index beside it names it: copy the folder again."
            ) from None
        except SafetensorError as error:
            raise ValueError(
                f"{file} is not a complete .safetensors file ({error}): the download or copy was "
                "cut short or damaged. Delete it and fetch it again."
            ) from None
    return tensors


def fill(model: nn.Module, tensors: dict[str, Tensor], their_name: Callable[[str], str], what: str):
    """Put tensors into a model that was built on the meta device, strictly.

    ValueError lists what is missing, left over or of another shape, before anything is assigned.
    """
    wanted = {name: their_name(name) for name in model.state_dict()}
    missing = [theirs for theirs in wanted.values() if theirs not in tensors]
    left_over = sorted(set(tensors) - set(wanted.values()))
    shapes = [
        f"{theirs} {list(tensors[theirs].shape)} instead of {list(parameter.shape)}"
        for (name, parameter), theirs in zip(model.state_dict().items(), wanted.values())
        if theirs in tensors and tensors[theirs].shape != parameter.shape
    ]
    problems = {"missing": missing, "not expected": left_over, "of another shape": shapes}
    if any(problems.values()):
        lines = [
            f"  {len(names)} {kind}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
            for kind, names in problems.items()
            if names
        ]
        raise ValueError(
            f"the weights in {what} do not fit the config.json beside them:\n"
            + "\n".join(lines)
            + "\nWeights and config must come from one model; copy the folder again."
        )
    model.load_state_dict({name: tensors[theirs] for name, theirs in wanted.items()}, assign=True)


def without_buffers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Text tensors with `text_model.` in front, and without the position_ids of older files."""
    prefixed = {
        name if name.startswith("text_model.") else f"text_model.{name}": tensor
        for name, tensor in tensors.items()
    }
    prefixed.pop("text_model.embeddings.position_ids", None)
    return prefixed


def load_text_encoder(folder: Path) -> TextEncoder:
    model = read_settings(folder / "config.json", lambda c: TextEncoder(settings.text_config(c)))
    fill(model, without_buffers(read_weights(folder)), names.text_encoder_to_transformers, folder)
    return model


def load_unet(folder: Path) -> UNet:
    model = read_settings(folder / "config.json", lambda c: UNet(settings.unet_config(c)))
    fill(model, read_weights(folder), lambda n: names.unet_to_diffusers(n, model.config), folder)
    return model


def load_vae(folder: Path) -> VAE:
    model = read_settings(folder / "config.json", lambda c: VAE(settings.vae_config(c)))
    fill(model, read_weights(folder), lambda n: names.vae_to_diffusers(n, model.config), folder)
    return model


def load(
    path: str | Path | None = None,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> StableDiffusion:
    """Open a model folder: the bundled Tiny SD, that of BORINGFUSION_MODEL, or the one at `path`.

    Device and dtype default to the best there is (`runtime.pick_device`): float32 on a CPU.
    FileNotFoundError or ValueError says which file is missing, damaged or foreign.
    """
    folder = Path(path) if path is not None else model_folder()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no model folder at {folder}. Give the path of a folder in the diffusers "
            "layout (the one that holds model_index.json), or none for the bundled Tiny SD."
        )
    index = read_json(folder / "model_index.json")
    settings.check("pipeline", index, {"_class_name": "StableDiffusionPipeline"})
    device, default = pick_device(device)
    place = {"device": device, "dtype": dtype or default}
    return StableDiffusion(
        tokenizer=Tokenizer.load(folder / "tokenizer"),
        text_encoder=load_text_encoder(folder / "text_encoder").to(**place).eval(),
        unet=load_unet(folder / "unet").to(**place).eval(),
        vae=load_vae(folder / "vae").to(**place).eval(),
        schedule=read_settings(folder / "scheduler/scheduler_config.json", Schedule.from_config),
    )


def load_clip(path: str | Path | None = None) -> CLIP:
    """The whole CLIP that was trained for a Tiny SD, in float32 on the CPU.

    Its text tower is the model's `text_encoder`; `clip/` holds the rest. FileNotFoundError for a
    folder without it: Stable Diffusion needs no image tower to make pictures.
    """
    folder = Path(path) if path is not None else model_folder()
    file = folder / "clip" / "config.json"
    clip = read_settings(file, lambda content: CLIP(settings.clip_config(content)))
    tensors = without_buffers(read_weights(folder / "text_encoder")) | read_weights(folder / "clip")
    fill(clip, tensors, names.clip_to_transformers, folder / "clip")
    return clip.float().eval()
