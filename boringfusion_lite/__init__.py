"""Stable Diffusion, small enough to read: one module a stage, in the order the data flows.

    import boringfusion_lite as bf
    sd = bf.load()                                     # the bundled Tiny SD
    picture = sd("photo of a couch, photorealistic")   # PIL.Image

tokenizer -> clip -> schedule -> unet -> guidance -> samplers -> vae -> pipeline; `checkpoint`
reads models from disk, `scenes` and `training` are where the bundled one comes from.
"""

from .checkpoint import load, load_clip
from .pipeline import StableDiffusion
from .runtime import check_environment
from .samplers import SAMPLERS, Frame, sample
from .saving import save
from .schedule import Schedule

__all__ = [
    "SAMPLERS",
    "Frame",
    "Schedule",
    "StableDiffusion",
    "check_environment",
    "load",
    "load_clip",
    "sample",
    "save",
]
