"""A run of the model as a film: one image a step, decoded when it is first looked at.

Twenty steps take the UNet less time than the decoder needs for their twenty clean-guesses. So
`draw` decodes the finished picture alone, and each frame when somebody wants it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image
from torch import Tensor

from ..pipeline import StableDiffusion
from ..plots import signed_rgb

GAP, LINE = 16, 2  # pixels between panels, and between latent maps


class Film(Sequence):
    """A row of images, each made by `make(number)` when it is first looked at, and then kept."""

    def __init__(self, length: int, make: Callable[[int], bytes]):
        self._made: list[bytes | None] = [None] * length
        self._make = make

    def __len__(self) -> int:
        return len(self._made)

    def __getitem__(self, number: int) -> bytes:
        if self._made[number] is None:
            self._made[number] = self._make(range(len(self))[number])
        return self._made[number]

    def missing(self) -> list[int]:
        """The numbers of the images that nobody has looked at yet."""
        return [number for number, image in enumerate(self._made) if image is None]


@dataclass(frozen=True)
class Drawing:
    """A picture and how it came about: for every step an image (PNG) and a sentence."""

    picture: Image.Image
    frames: Film
    sentences: list[str]


def draw(
    sd: StableDiffusion, prompt: str, seed: int = 0, steps: int = 20, guidance: float = 7.5
) -> Drawing:
    """Run the model once and keep every step: what the studio shows for these settings.

    Only the picture is decoded at once; the clean-guess of a step is when its frame is looked at.
    """
    run = list(sd.sample(prompt, seed=seed, steps=steps, guidance_scale=guidance))
    picture = sd.decode(run[-1].x)[0]
    going_in = [sd.noise(seed), *(frame.x for frame in run[:-1])]
    sentences = []
    for frame in run:
        kept = sd.schedule.alphas_cumprod[frame.t].item()
        sentences.append(
            f"Step {frame.step} of {steps}, t = {frame.t}: going in, "
            f"{kept**0.5:.2f} x clean latents + {(1 - kept) ** 0.5:.2f} x noise."
        )

    def frame_of(number: int) -> bytes:
        return panels(going_in[number][0], sd.decode(run[number].x0)[0], picture)

    return Drawing(picture, Film(len(run), frame_of), sentences)


def panels(latents: Tensor, guess: Image.Image, picture: Image.Image) -> bytes:
    """Four latent maps [4, h, w], the clean-guess and the picture side by side, as a PNG."""
    side = panel_side(picture)
    sheet = Image.new("RGB", (3 * side + 2 * GAP, side), "white")
    half = side // 2
    for number, channel in enumerate(latents[:4]):
        cells = Image.fromarray(signed_rgb(channel)).resize((half, half), Image.Resampling.NEAREST)
        sheet.paste(cells, (half * (number % 2), half * (number // 2)))
    sheet.paste("white", (half - LINE, 0, half + LINE, side))
    sheet.paste("white", (0, half - LINE, side, half + LINE))
    for number, image in enumerate((guess, picture), start=1):
        whole = side % image.width == 0
        method = Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS
        sheet.paste(image.resize((side, side), method), ((side + GAP) * number, 0))
    buffer = BytesIO()
    sheet.save(buffer, format="png", compress_level=1)
    return buffer.getvalue()


def panel_side(picture: Image.Image) -> int:
    return 256 if picture.width <= 256 else 384
