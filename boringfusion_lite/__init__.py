"""Stable Diffusion, small enough to read: one module a stage, in the order the data flows.

    import boringfusion_lite as bf
    sd = bf.load()                                     # the bundled Tiny SD
    picture = sd("photo of a couch, photorealistic")   # PIL.Image

tokenizer -> clip -> schedule -> unet -> guidance -> samplers -> vae -> pipeline; `checkpoint`
reads models from disk, `scenes` and `training` are where the bundled one comes from.
"""

from importlib import import_module

HOMES = {  # public name -> its module, which is imported when the name is first used
    "SAMPLERS": "samplers",
    "Frame": "samplers",
    "Schedule": "schedule",
    "StableDiffusion": "pipeline",
    "check_environment": "runtime",
    "compiled": "compilation",
    "download": "fetching",
    "load": "checkpoint",
    "load_clip": "checkpoint",
    "load_lora": "lora_files",
    "load_words": "textual_inversion",
    "sample": "samplers",
    "save": "saving",
    "save_lora": "lora_files",
    "save_words": "textual_inversion",
    "with_loras": "lora",
    "with_words": "textual_inversion",
}
__all__ = list(HOMES)


def __getattr__(name: str):
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *HOMES])
