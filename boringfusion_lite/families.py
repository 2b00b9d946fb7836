"""What a file of weights is, told from the names and shapes in it, before anything is built.

Most files called "model" are not one that runs here: they belong to a larger family, or they are
an addition to a model. Each has a name or a shape that gives it away, and gets its own answer.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

Shapes = Mapping[str, Sequence[int]]  # name of a tensor -> its shape

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
WHOLE = "Fetch the whole checkpoint, the file of 2 to 8 GB, or give a diffusers folder."
SD_1, SD_2 = "Stable Diffusion 1.x", "Stable Diffusion 2.x"
ONLY = "Only Stable Diffusion 1.x and 2.x run here, for text to image."


class Family(NamedTuple):
    """A kind of file; one that runs here has nothing to say about why not."""

    name: str
    why_not: str = ""


def contains(*parts: str) -> Callable[[Shapes], bool]:
    """Is one of these a part of some name?"""
    return lambda shapes: any(part in name for name in shapes for part in parts)


def begins(*prefixes: str) -> Callable[[Shapes], bool]:
    """Does some name begin with one of these?"""
    return lambda shapes: any(name.startswith(prefixes) for name in shapes)


def input_channels(shapes: Shapes) -> int:
    """Channels that the UNet's first convolution takes, in either layout; 4 where there is none."""
    for first in (f"{UNET}input_blocks.0.0.weight", "conv_in.weight"):
        if len(shapes.get(first, ())) == 4:
            return shapes[first][1]
    return 4


def few_vectors(shapes: Shapes) -> bool:
    return len(shapes) <= 4 and all(len(shape) in (1, 2) for shape in shapes.values())


RULES: list[tuple[Callable[[Shapes], bool], Family]] = [  # the first that fits
    (
        contains("lora", "hada_w1", "lokr_w"),
        Family(
            "a LoRA",
            "It is a set of small changes to a model, not a model. Load the model that it was made "
            "for first; then bf.load_lora and bf.with_loras add it to that.",
        ),
    ),
    (
        contains("motion_modules."),
        Family("an AnimateDiff motion module", f"It adds motion to a model's UNet. {ONLY}"),
    ),
    (
        contains("control_model.", "input_hint_block.", "controlnet_cond_embedding."),
        Family("a ControlNet", f"It steers a UNet by a second picture. {ONLY} Load a model alone."),
    ),
    (
        contains("ip_adapter.", "image_proj."),
        Family("an IP-Adapter", f"It lets a picture take part in the prompt. {ONLY}"),
    ),
    (
        contains("double_blocks.", "single_transformer_blocks."),
        Family("a Flux model", f"It is a transformer with 16 latent channels, not a UNet. {ONLY}"),
    ),
    (
        contains("joint_blocks.", ".add_q_proj."),
        Family("Stable Diffusion 3", f"It is a transformer, not a UNet. {ONLY}"),
    ),
    (
        contains("conditioner.embedders.", "add_embedding.linear_1."),
        Family("Stable Diffusion XL", f"It has two text encoders and another UNet. {ONLY}"),
    ),
    (
        lambda shapes: input_channels(shapes) == 9,
        Family(
            "an inpainting model",
            "Its UNet takes 9 channels: latents, a mask, and the masked picture. Use the plain "
            "model it was made from; `sd.sample(..., init_image=, mask=)` repaints with any.",
        ),
    ),
    (
        lambda shapes: input_channels(shapes) != 4 or contains("label_emb.")(shapes),
        Family(
            "a model that takes a picture beside its text (image editing, upscaling, depth)",
            f"Its UNet has inputs that plain text to image does not know. {ONLY}",
        ),
    ),
    (
        lambda s: all(begins(part)(s) for part in (UNET, VAE, CLIP)),
        Family(SD_1),
    ),
    (
        lambda s: all(begins(part)(s) for part in (UNET, VAE, OPEN_CLIP)),
        Family(SD_2),
    ),
    (
        lambda s: begins("model_ema.")(s) and not begins(UNET)(s),
        Family(
            "the averaged (EMA) weights of a training run alone",
            "Their names have lost their dots, so that no program can tell the layers apart. Fetch "
            'the file called "emaonly": it has the same numbers under their full names.',
        ),
    ),
    (
        begins(UNET),
        Family("a UNet without its VAE or text encoder", f"All three are needed. {WHOLE}"),
    ),
    (
        contains("decoder.conv_in.weight", "decoder.up.0.block.0."),
        Family("a VAE alone", f"A model is a VAE, a UNet and a text encoder. {WHOLE}"),
    ),
    (
        contains("embeddings.token_embedding.", "transformer.resblocks."),
        Family("a text encoder or CLIP alone", f"A UNet and a VAE are needed too. {WHOLE}"),
    ),
    (
        contains("down_blocks.0.resnets.0."),
        Family(
            "the UNet of a diffusers folder",
            "Give the folder above it, the one that holds model_index.json.",
        ),
    ),
    (
        lambda s: contains("string_to_param", "emb_params")(s) or few_vectors(s),
        Family(
            "a textual-inversion embedding",
            "It is a new word for a model, not a model. Load the model that it was made for first; "
            "then bf.load_words and bf.with_words add it to that.",
        ),
    ),
]


def recognise(shapes: Shapes) -> Family:
    """The family of a file, by the names of its tensors and their shapes."""
    for fits, family in RULES:
        if fits(shapes):
            return family
    some = ", ".join(f"{name} {list(shape)}" for name, shape in list(shapes.items())[:2])
    return Family("a model of a family unknown here", f"Its tensors are such as {some}. {ONLY}")


def check(shapes: Shapes, file: Path) -> Family:
    """The family of a file that runs here; ValueError says what another one is and what to do."""
    family = recognise(shapes)
    if family.why_not:
        raise ValueError(f"{file} holds {family.name}. {family.why_not}")
    return family
