"""torch.compile for the two networks that take the time: the UNet and the VAE's decoder.

torch.compile reads what a network does, fuses the small operations between the large ones, and
writes code for this machine. That pays only for whoever draws many pictures of one size: on two CPU
cores it takes a minute for Tiny SD, and wins little (`benchmarks/README.md`).
"""

from dataclasses import replace

from .pipeline import StableDiffusion
from .sharing import with_weights


def compiled(sd: StableDiffusion, **options) -> StableDiffusion:
    """The model with a compiled UNet and decoder; sd stays as it is and shares every weight.

    Compiles now, for one guided picture of the model's own size; for another size or number of
    pictures it compiles once more when that first comes. Answers differ from sd's by rounding.
    options: those of torch.compile. RuntimeError where this machine cannot.
    """
    unet, vae = with_weights(sd.unet, {}), with_weights(sd.vae, {})
    unet.compile(**options)
    vae.decoder.compile(**options)
    fast = replace(sd, unet=unet, vae=vae, remember=False)  # compiled code asks every layer
    try:
        list(fast.sample("", steps=1))
        fast.decode(fast.noise())
    except Exception as error:  # whatever goes wrong in a compiler
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RuntimeError(
            f"torch.compile does not work here: {reason:.200} On a CPU it needs a C++ compiler "
            "(Debian: apt install g++; Mac: xcode-select --install), on an NVIDIA GPU Triton, "
            "which comes with PyTorch on Linux. The model draws without it, as before."
        ) from error
    return fast
