"""The checkers of page 06: the right solution, the untouched stub, and every mistake they know."""

import pytest
import torch
import torch.nn.functional as F

from boringfusion_lite import checks
from boringfusion_lite.preview import fit_preview

MANY = torch.Generator().manual_seed(3)


def named(verdict, word):
    return verdict.passed is False and word in verdict.message


@pytest.mark.parametrize("check", [checks.check_pixels, checks.check_preview, checks.check_width])
@pytest.mark.parametrize("answer", [None, ...])
def test_an_untouched_stub_is_not_attempted(check, answer):
    assert check(lambda *args: answer).passed is None


# ---- one star ------------------------------------------------------------------------------------


def raw(vae, latents):
    return vae.decoder(vae.post_quant(latents))


def pixels(vae, latents):
    images = raw(vae, latents / vae.config.scaling_factor)
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def test_pixels_right():
    assert checks.check_pixels(pixels).passed
    cut_off = lambda vae, x: ((vae.decode(x) + 1) * 127.5).clamp(0, 255).to(torch.uint8)  # noqa: E731
    assert checks.check_pixels(cut_off).passed


def to_bytes(images):
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize(
    "mine, word",
    [
        (lambda vae, x: to_bytes(raw(vae, x)), "scaling factor is missing"),
        (lambda vae, x: to_bytes(raw(vae, x * vae.config.scaling_factor)), "divided"),
        (
            lambda vae, x: ((vae.decode(x) + 1) * 127.5).round().to(torch.int64).to(torch.uint8),
            "wrapped",
        ),
        (lambda vae, x: (vae.decode(x) * 255).round().clamp(0, 255).to(torch.uint8), "-1"),
        (lambda vae, x: vae.decode(x), "torch.uint8"),
        (lambda vae, x: pixels(vae, x).permute(0, 2, 3, 1), "shape"),
        (lambda vae, x: pixels(vae, x).numpy(), "tensor"),
        (lambda vae, x: pixels(vae, x).flip(-1), "levels away"),
    ],
)
def test_pixels_wrong(mine, word):
    assert named(checks.check_pixels(mine), word)


# ---- two stars -----------------------------------------------------------------------------------


def parts(latents, images):
    size = images.shape[-1] // latents.shape[-1]
    colours = F.avg_pool2d(images, size)
    cells = latents.permute(0, 2, 3, 1).reshape(-1, 4)
    return cells, torch.ones(len(cells), 1), colours, colours.permute(0, 2, 3, 1).reshape(-1, 3)


def solved(*columns, rows):
    return torch.linalg.lstsq(torch.cat(columns, dim=1), rows).solution


def mine_right(latents, images):
    cells, ones, _, rows = parts(latents, images)
    return solved(cells, ones, rows=rows)


def no_constant(latents, images):
    cells, _, _, rows = parts(latents, images)
    return solved(cells, rows=rows)


def scrambled(latents, images):
    _, ones, _, rows = parts(latents, images)
    return solved(latents.reshape(-1, 4), ones, rows=rows)


def both_scrambled(latents, images):
    _, ones, colours, _ = parts(latents, images)
    return solved(latents.reshape(-1, 4), ones, rows=colours.reshape(-1, 3))


def colours_scrambled(latents, images):
    cells, ones, colours, _ = parts(latents, images)
    return solved(cells, ones, rows=colours.reshape(-1, 3))


def one_pixel(latents, images):
    size = images.shape[-1] // latents.shape[-1]
    return fit_preview(latents, images[..., ::size, ::size])


def test_preview_right():
    assert checks.check_preview(mine_right).passed
    assert checks.check_preview(fit_preview).passed


@pytest.mark.parametrize(
    "mine, word",
    [
        (no_constant, "constant is missing"),
        (lambda x, y: F.pad(no_constant(x, y), (0, 0, 0, 1)), "constant is missing"),
        (scrambled, "mixed up"),
        (both_scrambled, "mixed up"),
        (colours_scrambled, "mixed up"),
        (one_pixel, "mean of all its pixels"),
        (lambda x, y: mine_right(x, y).T, "transposed"),
        (lambda x, y: mine_right(x, y).numpy(), "tensor"),
        (lambda x, y: mine_right(x, y) / 2, "can be had"),
    ],
)
def test_preview_wrong(mine, word):
    assert named(checks.check_preview(mine), word)


# ---- three stars ---------------------------------------------------------------------------------


def width(vae, images, row, column, amount=0.1, draw=None, as_bytes=False, limit=None, axis=0):
    change = 0
    for channel in range(4):
        latents = vae.encode(images, draw)
        moved = vae.encode(images, draw) if draw else latents.clone()
        moved[:, channel, row, column] += amount
        before, after = vae.decode(latents), vae.decode(moved)
        if as_bytes:
            before, after = to_bytes(before).float(), to_bytes(after).float()
        change = change + (after - before).abs().mean(dim=(0, 1))
    profile = change.amax(dim=axis)
    seen = (profile >= (limit or 0.01 * profile.max())).nonzero().flatten()
    return int(seen.max() - seen.min()) + 1


def test_width_right():
    assert checks.check_width(width).passed
    assert checks.check_width(lambda *a: width(*a) + 1).passed  # within one pixel
    assert checks.check_width(lambda *a: torch.tensor(width(*a))).passed


@pytest.mark.parametrize(
    "mine, word",
    [
        (lambda *a: width(*a, draw=MANY), "without a generator"),
        (lambda *a: width(*a, amount=3.0), "limits"),
        (lambda *a: width(*a, as_bytes=True), "rounded away"),
        (lambda *a: width(*a, axis=1), "height"),
        (lambda *a: width(*a, limit=0.04), "not a change of 0.01"),
        (lambda *a: 8, "got 8"),
        (lambda *a: "wide", "number of pixels"),
    ],
)
def test_width_wrong(mine, word):
    assert named(checks.check_width(mine), word)
