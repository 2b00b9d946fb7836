"""Write a model as a folder in the diffusers layout, which `load` and diffusers open."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from . import names, settings
from .checkpoint import WEIGHTS
from .clip import CLIP
from .pipeline import StableDiffusion

PARTS = ("text_encoder", "unet", "vae", "scheduler", "tokenizer", "clip")
SHARD_BYTES = 15_500_000  # of one written file, so that no file passes 16 MB


def write_json(file: Path, content: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_weights(folder: Path, name: str, tensors: dict[str, Tensor]) -> None:
    """One .safetensors file, or shards and their index as diffusers and transformers write them."""
    shards: list[dict[str, Tensor]] = [{}]
    for key, tensor in tensors.items():
        used = sum(t.nbytes for t in shards[-1].values())
        if shards[-1] and used + tensor.nbytes > SHARD_BYTES:
            shards.append({})
        shards[-1][key] = tensor.contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    if len(shards) == 1:
        (folder / name).write_bytes(to_bytes(shards[0], metadata={"format": "pt"}))
        return
    stem, weight_map = name.removesuffix(".safetensors"), {}
    for number, shard in enumerate(shards, start=1):
        file = f"{stem}-{number:05}-of-{len(shards):05}.safetensors"
        (folder / file).write_bytes(to_bytes(shard, metadata={"format": "pt"}))
        weight_map |= dict.fromkeys(shard, file)
    total = sum(t.nbytes for t in tensors.values())
    write_json(
        folder / f"{name}.index.json",
        {"metadata": {"total_size": total}, "weight_map": weight_map},
    )


def renamed(model: nn.Module, their_name: Callable[[str], str], dtype: torch.dtype):
    """A model's weights under the names of the file format, in `dtype`, on the CPU."""
    return {their_name(n): t.detach().to("cpu", dtype) for n, t in model.state_dict().items()}


def save(
    sd: StableDiffusion,
    folder: str | Path,
    *,
    tokenizer: str | Path,
    clip: CLIP | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a model as a diffusers folder that `load` and diffusers open; `tokenizer` is copied.

    Everything is written beside the target first and moved into place when complete: if that
    fails, what was there before is still there. Files that are not a model's own are left alone.
    """
    folder, half = Path(folder), Path(f"{folder}.partial")
    shutil.rmtree(half, ignore_errors=True)
    try:
        write_parts(sd, half, clip, dtype)
        shutil.copytree(tokenizer, half / "tokenizer")
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:  # of the model that was here before; this one may have no CLIP
        shutil.rmtree(folder / part, ignore_errors=True)
    for made in half.iterdir():
        made.replace(folder / made.name)
    half.rmdir()


def write_parts(sd: StableDiffusion, folder: Path, clip: CLIP | None, dtype: torch.dtype) -> None:
    """Everything but the tokenizer."""
    unet, vae, text = sd.unet, sd.vae, sd.text_encoder
    parts = {
        "text_encoder": (settings.text_json(text.config), WEIGHTS[1],
                         renamed(text, names.text_encoder_to_transformers, dtype)),
        "unet": (settings.unet_json(unet.config), WEIGHTS[0],
                 renamed(unet, lambda n: names.unet_to_diffusers(n, unet.config), dtype)),
        "vae": (settings.vae_json(vae.config), WEIGHTS[0],
                renamed(vae, lambda n: names.vae_to_diffusers(n, vae.config), dtype)),
    }  # fmt: skip
    if clip is not None:
        tensors = renamed(clip, names.clip_to_transformers, dtype)
        rest = {name: t for name, t in tensors.items() if not name.startswith("text_model.")}
        parts["clip"] = (settings.clip_json(clip.config), WEIGHTS[1], rest)
    for part, (config, name, tensors) in parts.items():
        write_json(folder / part / "config.json", config)
        write_weights(folder / part, name, tensors)
    scheduler = sd.schedule.to_config()
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    index = MODEL_INDEX | {"scheduler": ["diffusers", scheduler["_class_name"]]}
    write_json(folder / "model_index.json", index)


MODEL_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
