"""Write a model, as a folder in the diffusers layout or as one file in the original layout."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from . import names, original_names, original_settings, settings
from .checkpoint import read_json
from .clip import CLIP
from .pipeline import StableDiffusion
from .runtime import bundled_folder
from .tokenizer import END, Tokenizer
from .weight_files import WEIGHTS

PARTS = ("text_encoder", "unet", "vae", "scheduler", "tokenizer", "clip")
SHARD_BYTES = 15_500_000  # of one written file, so that no file passes 16 MB and git is at ease
WHOLE_BYTES = 200_000_000  # from here on a network is no matter for git, and stays in one file


def write_json(file: Path, content: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_file(file: Path, tensors: dict[str, Tensor], notes: dict[str, str]) -> None:
    """One .safetensors file, as readable to others as any new file here."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    mode = file.stat().st_mode
    save_file({n: t.contiguous() for n, t in tensors.items()}, file, {"format": "pt", **notes})
    file.chmod(mode)  # which save_file had narrowed down to its owner


def replace_file(
    file: Path, tensors: dict[str, Tensor], notes: Mapping[str, str] | None = None
) -> None:
    """Write beside the target and move into place when complete, so that no half file is left."""
    half = Path(f"{file}.partial")
    try:
        write_file(half, tensors, {**(notes or {})})
        half.replace(file)
    finally:
        half.unlink(missing_ok=True)


def write_weights(folder: Path, name: str, tensors: dict[str, Tensor]) -> None:
    """One .safetensors file, or shards and their index as diffusers and transformers write them."""
    total = sum(t.nbytes for t in tensors.values())
    most = SHARD_BYTES if total < WHOLE_BYTES else total
    shards: list[dict[str, Tensor]] = [{}]
    for key, tensor in tensors.items():
        used = sum(t.nbytes for t in shards[-1].values())
        if shards[-1] and used + tensor.nbytes > most:
            shards.append({})
        shards[-1][key] = tensor
    if len(shards) == 1:
        write_file(folder / name, shards[0], {})
        return
    stem, weight_map = name.removesuffix(".safetensors"), {}
    for number, shard in enumerate(shards, start=1):
        file = f"{stem}-{number:05}-of-{len(shards):05}.safetensors"
        write_file(folder / file, shard, {})
        weight_map |= dict.fromkeys(shard, file)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(folder / f"{name}.index.json", index)


def renamed(model: nn.Module, their_name: Callable[[str], str], dtype: torch.dtype):
    """A model's weights under the names of the file format, in `dtype`, on the CPU."""
    return {their_name(n): t.detach().to("cpu", dtype) for n, t in model.state_dict().items()}


def save(
    sd: StableDiffusion,
    path: str | Path,
    *,
    tokenizer: str | Path | None = None,
    clip: CLIP | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a model to a folder in the diffusers layout, or to one file in the original layout.

    The file where `path` ends in .safetensors. `load` opens both, and so do the programs that know
    the layout. clip: the rest of the CLIP that the model was trained with; tokenizer: a folder to
    copy, by default the model's own vocabulary. ValueError where one of them is given for a file,
    which has no room for it.

    Everything is written beside the target first and moved into place when complete: if that
    fails, what was there before is still there. Files that are not a model's own are left alone.
    """
    path = Path(path).expanduser()
    single = path.suffix == ".safetensors"
    if single and (clip or tokenizer):
        raise ValueError(
            f"{path} would be a single file, without room for CLIP or a tokenizer: leave them out, "
            "or give the path of a folder."
        )
    if getattr(sd.tokenizer, "taught", {}):
        raise ValueError(
            f"The words {', '.join(sd.tokenizer.taught)} were added to this model, and its files "
            "have no place for them: save the model without them, and each with `save_words`."
        )
    half = Path(f"{path}.partial")
    remove(half)
    try:
        if single:
            write_single(sd, half, dtype)
        else:
            write_parts(sd, half, clip, dtype)
            write_tokenizer(sd, half / "tokenizer", tokenizer)
    except BaseException:
        remove(half)
        raise
    move_into_place(half, path)


def remove(path: Path) -> None:
    """Take away a file or a folder, if there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def move_into_place(half: Path, path: Path) -> None:
    """Put what was written beside the target in its place; of a folder the parts of a model."""
    if half.is_file():
        half.replace(path)
        return
    path.mkdir(parents=True, exist_ok=True)
    for part in PARTS:  # of the model that was here before; this one may have no CLIP
        remove(path / part)
    for made in half.iterdir():
        made.replace(path / made.name)
    half.rmdir()


def write_single(sd: StableDiffusion, file: Path, dtype: torch.dtype) -> None:
    """All three networks in one file of the original layout, with a note of their settings."""
    networks = {"text_encoder": sd.text_encoder, "unet": sd.unet, "vae": sd.vae}
    configs = {part: network.config for part, network in networks.items()}
    tensors = renamed(
        nn.ModuleDict(networks), lambda name: original_names.to_original(name, configs), dtype
    )
    note = original_settings.write_note(**configs, schedule=sd.schedule)
    write_file(file, original_names.as_original(tensors), {original_settings.NOTE: note})


def write_tokenizer(sd: StableDiffusion, folder: Path, source: str | Path | None) -> None:
    """The files of CLIP's vocabulary, with a note of what the model fills prompts up with."""
    shutil.copytree(source or bundled_folder() / "tokenizer", folder)
    if source is None and sd.tokenizer.pad != END:  # SD 2.x
        pad = {"pad_token": Tokenizer.load(folder).decode([sd.tokenizer.pad])}
        for name in ("tokenizer_config.json", "special_tokens_map.json"):
            write_json(folder / name, read_json(folder / name) | pad)


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
