"""LoRA files: the names that training tools give to our layers, read strictly and written.

    lora = load_lora("crayon.safetensors", sd)          # for this model, or a clear refusal
    save_lora(lora, "again.safetensors", sd, layout="kohya")

The same layer of the UNet is in files, in the order of their age,

    down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight
    lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight
    lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.lora_down.weight
    unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora.down.weight
    unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight

the two with underscores being kohya's, the others diffusers'. With underscores for dots a name
cannot be taken apart again, so all names of all our layers are made and the file's looked up there.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from . import names
from .lora import LoRA, LowRank, check_fit, layers
from .original_names import UNET, unet_to_original
from .pipeline import StableDiffusion
from .saving import replace_file
from .weight_files import metadata, read

ENDINGS = {  # of a key -> what it holds
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".alpha": "alpha",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    ".lora_linear_layer.down.weight": "down",
    ".lora_linear_layer.up.weight": "up",
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
}
OLD_ENDINGS = {"_lora.down.weight": "down", "_lora.up.weight": "up"}
LAYOUTS = ("diffusers", "kohya")  # to write
FAMILIES = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "SDXL"}
TEXT_INPUT = re.compile(r"attn2[._](processor[._])?to_k.*(down|lora_A)")  # reads the text's vectors


# ---- names ---------------------------------------------------------------------------------------


def diffusers_name(place: str, sd: StableDiffusion) -> str:
    """ "unet.down.1...q" -> "down_blocks.0...to_q": diffusers' name of a layer in its network."""
    part, _, name = place.partition(".")
    if part == "unet":
        theirs = names.unet_to_diffusers(f"{name}.weight", sd.unet.config)
    else:
        theirs = names.text_encoder_to_transformers(f"{name}.weight")
    return theirs.removesuffix(".weight")


def stems(place: str, sd: StableDiffusion) -> tuple[list[str], list[str]]:
    """All that keys of a layer may begin with: before any of ENDINGS, and before OLD_ENDINGS."""
    theirs = diffusers_name(place, sd)
    low = theirs.replace(".", "_")
    if place.startswith("unet."):
        old = re.sub(r"\.to_(q|k|v|out)(\.0)?$", r".processor.to_\1", theirs)
        first = unet_to_original(f"{place.removeprefix('unet.')}.weight", sd.unet.config)
        first = first.removeprefix(UNET).removesuffix(".weight").replace(".", "_")
        new = [f"lora_unet_{low}", f"lora_unet_{first}", f"unet.{theirs}", theirs]
        return new, [f"unet.{old}", old]
    flat = theirs.removeprefix("text_model.")  # as transformers 5 has it
    old = re.sub(r"\.(q|k|v|out)_proj$", r".to_\1", theirs)
    new = [f"lora_te_{low}", f"lora_te1_{low}", f"text_encoder.{theirs}", f"text_encoder.{flat}"]
    return new, [f"text_encoder.{old}"]


def known_keys(sd: StableDiffusion) -> dict[str, tuple[str, str]]:
    """Every key that a LoRA file for this model may have -> (place, "down", "up" or "alpha")."""
    keys = {}
    for place in layers(sd):
        new, old = stems(place, sd)
        keys |= {stem + end: (place, role) for stem in new for end, role in ENDINGS.items()}
        keys |= {stem + end: (place, role) for stem in old for end, role in OLD_ENDINGS.items()}
    return keys


# ---- reading -------------------------------------------------------------------------------------


def load_lora(path: str | Path, sd: StableDiffusion) -> LoRA:
    """Read a LoRA file of kohya's or diffusers' layout, for `with_loras`.

    Strict: everything in it must have its layer in sd, and fit. ValueError names what does not, and
    the family that the LoRA was made for; for what cannot be read at all see `weight_files.read`.
    """
    tensors, notes = read(path), metadata(Path(path))
    settings = json.loads(notes.get("lora_adapter_metadata", "{}"))
    check_family(path, tensors, sd)
    known = known_keys(sd)
    strange = [key for key in tensors if key not in known]
    if strange or not tensors:
        raise ValueError(
            f"{path} is no LoRA for this model: {len(strange)} of its {len(tensors)} tensors fit "
            f"none of the layers ({', '.join(strange[:3])}). It was made for another model, or is "
            "another kind of adapter (DoRA, LoHa, LoKr, ...)."
        )
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        place, role = known[key]
        found.setdefault(place, {})[role] = tensor
    if half := [place for place, parts in found.items() if not {"down", "up"} <= parts.keys()]:
        raise ValueError(
            f"{path} is incomplete: {len(half)} layers, such as {half[0]}, lack one of their two "
            "matrices. Fetch the file again."
        )
    lora = {
        place: LowRank(parts["down"], parts["up"], alpha_of(place, parts, settings, sd))
        for place, parts in found.items()
    }
    check_fit(lora, sd)
    return lora


def check_family(path: str | Path, tensors: dict[str, Tensor], sd: StableDiffusion) -> None:
    """ValueError where the width of the text's vectors gives another model family away."""
    own = sd.unet.config.context_width
    for key, tensor in tensors.items():
        width = math.prod(tensor.shape[1:])
        if TEXT_INPUT.search(key) and width != own:
            family = FAMILIES.get(width, "another model")
            raise ValueError(
                f"{path} is a LoRA for {family}: its cross-attention reads text vectors {width} "
                f"wide, and those of this model are {own} wide ({FAMILIES.get(own, 'its own')}). "
                "Use it with a model of that family."
            )


def alpha_of(place: str, parts: dict[str, Tensor], settings: dict, sd: StableDiffusion) -> float:
    """A layer's alpha: its own tensor, else by peft's settings, else the rank, as is the custom.

    peft's "alpha_pattern" holds exceptions: the end of a layer's name, as a regular expression.
    """
    rank = len(parts["down"])
    if "alpha" in parts:
        return float(parts["alpha"])
    part, name = place.partition(".")[0], diffusers_name(place, sd)
    alpha = settings.get(f"{part}.lora_alpha", rank)
    for pattern, exception in settings.get(f"{part}.alpha_pattern", {}).items():
        if re.match(rf"(.*\.)?({pattern})$", name):
            alpha = exception
            break
    return float(alpha) * (rank**0.5 if settings.get(f"{part}.use_rslora") else 1)


# ---- writing -------------------------------------------------------------------------------------


def save_lora(
    lora: LoRA,
    path: str | Path,
    sd: StableDiffusion,
    layout: str = "diffusers",
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write a LoRA as a `.safetensors` file in the layout that diffusers or kohya's tools read.

    kohya's has a place for alpha; in diffusers' it is multiplied into `up`, which then counts with
    alpha = rank. notes: for the file's header, such as how it was made. What was at `path` is
    replaced when all is written. ValueError for another layout, and for a LoRA that does not fit.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"no layout {layout!r}: choose one of {', '.join(LAYOUTS)}")
    check_fit(lora, sd)
    tensors = {}
    for place, (down, up, alpha) in lora.items():
        down_key, up_key, alpha_key = keys_to_write(place, sd, layout)
        if alpha_key:
            tensors[alpha_key] = torch.tensor(alpha)
        elif alpha != len(down):
            up = up * (alpha / len(down))
        tensors[down_key], tensors[up_key] = down, up
    tensors = {key: tensor.detach().cpu() for key, tensor in tensors.items()}
    replace_file(Path(path), tensors, notes)


def keys_to_write(place: str, sd: StableDiffusion, layout: str) -> tuple[str, str, str | None]:
    """The keys of a layer's down, up and alpha, for which diffusers' layout has none."""
    part, name = place.partition(".")[0], diffusers_name(place, sd)
    if layout == "kohya":
        stem = {"unet": "lora_unet_", "text_encoder": "lora_te_"}[part] + name.replace(".", "_")
        return f"{stem}.lora_down.weight", f"{stem}.lora_up.weight", f"{stem}.alpha"
    if part == "unet":
        return f"unet.{name}.lora_A.weight", f"unet.{name}.lora_B.weight", None
    stem = f"text_encoder.{name}.lora_linear_layer"
    return f"{stem}.down.weight", f"{stem}.up.weight", None
