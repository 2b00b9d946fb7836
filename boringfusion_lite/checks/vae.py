"""The exercises of page 06: pixels from latents, the cheap preview, the footprint of a cell.

None of them needs trained weights. The first is tried on a small VAE with random ones, the last on
a stand-in that smears every cell by a known amount and saturates as a real decoder does.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..preview import cell_colours, fit_preview, preview, r_squared
from ..vae import VAE, VAEConfig
from .verdict import Wrong, ask, checks


@checks
def check_pixels(yours) -> str:
    """`yours(vae, latents)` is what the latents decode to, as uint8 [B, 3, H, W]."""
    for seed, factor, shape in ((0, 0.4, (2, 4, 3, 5)), (1, 2.5, (1, 4, 4, 4))):
        vae, latents = _small_vae(seed, factor), _drawn(seed + 7, *shape)
        with torch.no_grad():
            answer = ask(yours, vae, latents)
            images = vae.decode(latents)
            unscaled, twice = (vae.decode(latents * f) for f in (factor, factor**2))
        wanted, levels = (images + 1) * 127.5, _levels(answer, images.shape)
        causes = {
            "The scaling factor is missing: divide the latents by it first.": _bytes(unscaled),
            "Multiplied by the scaling factor; on the way out it has to be divided.": _bytes(twice),
            "Numbers beyond 0 and 255 wrapped around: 260 became 4. Clip first.": (
                wanted.round().to(torch.int64) % 256
            ),
            "-1 has to become 0; you took 0 for black.": (images * 255).round().clamp(0, 255),
        }
        _compare(levels, wanted.clamp(0, 255), causes)
    return "the right range, and clipped where the decoder goes beyond it"


def _levels(answer, shape) -> Tensor:
    """The answer as float levels; `Wrong` where its kind or shape is another one."""
    if not isinstance(answer, Tensor):
        raise Wrong(f"A tensor is asked for, not {type(answer).__name__}.")
    if answer.shape != shape:
        raise Wrong(f"The shape is {list(answer.shape)}; expected {list(shape)}.")
    if answer.dtype != torch.uint8:
        raise Wrong(f"The numbers are {answer.dtype}; expected torch.uint8. Use `.to(torch.uint8)`")
    return answer.float()


def _compare(levels: Tensor, wanted: Tensor, causes: dict[str, Tensor]) -> None:
    """Right within one level, so that rounding and cutting off both are; else the likely cause."""
    if _alike(levels, wanted) == 1:
        return
    for reason, outcome in causes.items():
        if _alike(levels, outcome) > 0.99:
            raise Wrong(reason)
    raise Wrong(f"A pixel is {(levels - wanted).abs().max():.0f} levels away from its true value.")


def _alike(levels: Tensor, others: Tensor) -> float:
    """Share of the pixels that are at most a level apart."""
    return ((levels - others).abs() <= 1.01).float().mean().item()


def _bytes(images: Tensor) -> Tensor:
    return ((images + 1) * 127.5).round().clamp(0, 255)


def _small_vae(seed: int, scaling_factor: float) -> VAE:
    """Random weights from a generator of their own, with pictures that go beyond [-1, 1]."""
    shape = {"channels": (8, 8, 8, 8), "blocks_per_level": 1, "groups": 4}
    config = VAEConfig(**shape, scaling_factor=scaling_factor)
    draw = torch.Generator().manual_seed(seed)
    with torch.device("meta"):  # so that no weight is drawn from the global random state
        vae = VAE(config).requires_grad_(False)
    vae = vae.to_empty(device="cpu")
    for name, weight in vae.named_parameters():
        if weight.dim() == 1:
            weight.fill_("norm" in name and "weight" in name)
        else:
            weight.copy_(torch.randn(weight.shape, generator=draw) / weight[0].numel() ** 0.5)
    return vae


def _drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# ---- two stars: the preview ----------------------------------------------------------------------


@checks
def check_preview(yours) -> str:
    """`yours(latents, images)` is a matrix [5, 3] that explains colours it has not seen."""
    for seed, factor, (height, width) in ((0, 8, (6, 9)), (1, 4, (8, 5))):
        latents, images = _coloured(seed, factor, height, width)
        matrix = ask(yours, latents[:6], images[:6])
        if not isinstance(matrix, Tensor) or matrix.shape != (5, 3):
            raise Wrong(_shape_cause(matrix))
        truth = cell_colours(images[6:], height, width)
        best = r_squared(preview(latents[6:], fit_preview(latents[:6], images[:6])), truth)
        reached = r_squared(preview(latents[6:], matrix), truth)
        if reached >= best - 0.02:
            continue
        for reason, wrong in _wrong_matrices(latents[:6], images[:6]):
            if torch.allclose(matrix.float(), wrong, atol=1e-2):
                raise Wrong(reason)
        raise Wrong(
            f"On pictures that were not used for the fit, R² is {reached:.2f}; "
            f"{best:.2f} can be had."
        )
    return "it explains the colours of pictures that it has not seen"


def _coloured(seed: int, factor: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Eight latents, and images whose cells are a linear function of them, each with a slope."""
    latents = _drawn(seed, 8, 4, height, width)
    matrix = torch.cat([_drawn(seed + 10, 4, 3) / 4, torch.tensor([[0.4, -0.3, 0.5]])])
    small = preview(latents, matrix) + 0.05 * _drawn(seed + 20, 8, 3, height, width)
    slope = torch.linspace(-0.4, 0.4, factor)
    within = (slope[:, None] + slope).repeat(height, width)
    return latents, small.repeat_interleave(factor, -1).repeat_interleave(factor, -2) + within


def _shape_cause(matrix) -> str:
    if not isinstance(matrix, Tensor):
        return f"A tensor [5, 3] is asked for, not {type(matrix).__name__}."
    reasons = {
        (4, 3): " The constant is missing: give every cell a fifth number, 1.",
        (
            3,
            5,
        ): " It is transposed: five rows, the last one the constant; a column a colour.",
    }
    why = reasons.get(tuple(matrix.shape), "")
    return f"The matrix has the shape {list(matrix.shape)}; expected [5, 3].{why}"


def _wrong_matrices(latents: Tensor, images: Tensor) -> list[tuple[str, Tensor]]:
    """What the usual mistakes lead to."""

    def solved(cells: Tensor, rows: Tensor, constant: bool = True) -> Tensor:
        cells = F.pad(cells, (0, 1), value=float(constant))
        return torch.linalg.pinv(cells) @ rows  # a column of zeros gets a row of zeros

    colours, size = cell_colours(images, *latents.shape[-2:]), images.shape[-1] // latents.shape[-1]
    cells, rows = (x.permute(0, 2, 3, 1).flatten(0, 2) for x in (latents, colours))
    scrambled = (
        "Channels and places are mixed up: `reshape(-1, 4)` takes four neighbours of one channel. "
        "Move the channels to the end first, `permute(0, 2, 3, 1)`."
    )
    average = "A cell's colour is the mean of all its pixels; you took one of them."
    return [
        ("The constant is missing: its row is zero.", solved(cells, rows, constant=False)),
        (scrambled, solved(latents.reshape(-1, 4), rows)),
        (scrambled, solved(cells, colours.reshape(-1, 3))),
        (scrambled, solved(latents.reshape(-1, 4), colours.reshape(-1, 3))),
        (average, fit_preview(latents, images[..., ::size, ::size])),
    ]


# ---- three stars: the footprint ------------------------------------------------------------------


@dataclass(frozen=True)
class StandIn:
    """Encodes by averaging; decodes by smearing cells over `across` and `down` pixels (Gauss)."""

    across: float
    down: float
    seed: int

    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images [B, 3, H, W] -> latents [B, 4, H/8, W/8]; drawn where a generator is given."""
        latents = F.conv2d(F.avg_pool2d(images, 8), _drawn(self.seed, 4, 3, 1, 1))
        if generator is None:
            return latents
        return latents + 0.2 * torch.randn(latents.shape, generator=generator)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> images that stay within [-1, 1], however large the latents are."""
        images = F.conv2d(latents, 4 * _drawn(self.seed + 1, 3, 4, 1, 1))
        images = F.interpolate(images, scale_factor=8.0)
        reach = torch.arange(-24.0, 25.0)
        for spread, shape in ((self.across, (1, 1, 1, -1)), (self.down, (1, 1, -1, 1))):
            bell = (-(reach**2) / (2 * spread**2)).exp()
            kernel = (bell / bell.sum()).reshape(shape).repeat(3, 1, 1, 1)
            images = F.conv2d(images, kernel, padding="same", groups=3)
        return images.tanh()


@checks
def check_width(yours) -> str:
    """`yours(vae, images, row, column)` is the footprint's width in pixels, to within one."""
    for seed, across, down, cell in ((0, 3.0, 6.0, (7, 6)), (1, 7.0, 3.0, (6, 8))):
        vae, images = StandIn(across, down, seed), _drawn(seed, 2, 3, 120, 120).tanh()
        answer, wanted = ask(yours, vae, images, *cell), _width(vae, images, *cell)
        if not isinstance(answer, int | float | Tensor) or isinstance(answer, bool):
            raise Wrong(f"A number of pixels is asked for, not {type(answer).__name__}.")
        if abs(float(answer) - wanted) <= 1:
            continue
        for reason, mistake in WIDTH_CAUSES.items():
            outcome = _width(vae, images, *cell, **mistake)
            if abs(outcome - wanted) > 1 and abs(float(answer) - outcome) <= 1:
                raise Wrong(f"{float(answer):.0f} pixels, and it should be {wanted}. {reason}")
        raise Wrong(f"Expected {wanted} pixels, got {float(answer):g}.")
    return "a small change, one fixed starting point, and 1 % of the peak"


WIDTH_CAUSES = {
    "That is the height: take the largest number of each column, not of each row.": {"axis": 1},
    "The two latents come from two draws, so all cells differ. Encode once, without a generator.": {
        "drawn": True
    },
    "So large a change drives the decoder to its limits and looks wider. Use 0.1.": {"amount": 3.0},
    "Compared as bytes, small changes are rounded away. Compare what `vae.decode` returns.": {
        "rounded": True
    },
    "1 % of the peak is meant, not a change of 0.01.": {"absolute": True},
}


def _width(
    vae: StandIn,
    images: Tensor,
    row: int,
    column: int,
    *,
    amount: float = 0.1,
    axis: int = 0,
    drawn: bool = False,
    rounded: bool = False,
    absolute: bool = False,
) -> int:
    """The right width; the options are the usual mistakes."""
    draw = torch.Generator().manual_seed(0) if drawn else None
    change = torch.zeros(images.shape[-2:])
    for channel in range(4):
        latents = vae.encode(images, draw)
        moved = vae.encode(images, draw) if drawn else latents.clone()
        moved[:, channel, row, column] += amount
        before, after = vae.decode(latents), vae.decode(moved)
        if rounded:
            before, after = _bytes(before), _bytes(after)
        change += (after - before).abs().mean(dim=(0, 1)) / 4
    profile = change.amax(dim=axis)
    seen = (profile >= (0.01 if absolute else 0.01 * profile.max())).nonzero().flatten()
    return int(seen.max() - seen.min()) + 1 if len(seen) else 0
