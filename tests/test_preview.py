"""The linear preview: least squares as NumPy has it, exact where colours are linear."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boringfusion_lite.preview import cell_colours, fit_preview, preview, r_squared


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def large(small, factor=8):
    """Every pixel as a cell of factor x factor equal ones."""
    return small.repeat_interleave(factor, -1).repeat_interleave(factor, -2)


def test_it_is_the_least_squares_fit():
    latents, images = drawn(3, 4, 5, 7), drawn(3, 3, 40, 56, seed=1)
    cells = latents.permute(0, 2, 3, 1).reshape(-1, 4).double().numpy()
    colours = np.zeros((3 * 5 * 7, 3))
    for b, y, x in np.ndindex(3, 5, 7):
        patch = images[b, :, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8]
        colours[(b * 5 + y) * 7 + x] = patch.double().mean(dim=(1, 2)).numpy()
    design = np.hstack([cells, np.ones((len(cells), 1))])
    wanted, *_ = np.linalg.lstsq(design, colours, rcond=None)
    assert np.allclose(fit_preview(latents, images).numpy(), wanted, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 999),
    height=st.integers(3, 6),
    width=st.integers(3, 6),
    channels=st.integers(1, 5),
    factor=st.sampled_from([1, 2, 8]),
)
def test_colours_that_are_linear_come_back(seed, height, width, channels, factor):
    matrix = drawn(channels + 1, 3, seed=seed)
    latents = drawn(2, channels, height, width, seed=seed + 1)
    truth = preview(latents, matrix)
    assert torch.allclose(fit_preview(latents, large(truth, factor)), matrix, atol=1e-3)
    assert truth.shape == (2, 3, height, width)


def test_a_cell_is_its_four_numbers_and_a_one_times_the_matrix():
    matrix, latents = drawn(5, 3), drawn(2, 4, 6, 9, seed=1)
    by_hand = latents[1, :, 2, 7] @ matrix[:4] + matrix[4]
    assert torch.allclose(preview(latents, matrix)[1, :, 2, 7], by_hand, atol=1e-6)


def test_the_colour_of_a_cell_is_the_mean_of_its_pixels():
    images = drawn(1, 3, 16, 24)
    cells = cell_colours(images, 2, 3)
    assert cells.shape == (1, 3, 2, 3)
    assert torch.allclose(cells[0, :, 1, 2], images[0, :, 8:, 16:].mean(dim=(1, 2)), atol=1e-6)


def test_r_squared_is_one_for_the_truth_and_zero_for_the_mean():
    truth = drawn(4, 3, 8, 8)
    mean = truth.mean(dim=(0, 2, 3), keepdim=True).expand_as(truth)
    assert r_squared(truth, truth) == 1
    assert r_squared(mean, truth) == pytest.approx(0, abs=1e-6)
    assert r_squared(-truth, truth) < -1


def test_the_fit_explains_at_least_what_the_mean_does_and_no_noise():
    latents, images = drawn(8, 4, 8, 8), drawn(8, 3, 64, 64, seed=1)
    matrix = fit_preview(latents[:4], images[:4])
    inside = r_squared(preview(latents[:4], matrix), cell_colours(images[:4], 8, 8))
    outside = r_squared(preview(latents[4:], matrix), cell_colours(images[4:], 8, 8))
    assert 0 <= inside < 0.1 and outside < 0.1


def test_half_precision_comes_out_as_float32():
    latents, images = drawn(2, 4, 4, 4).half(), drawn(2, 3, 32, 32).half()
    matrix = fit_preview(latents, images)
    assert matrix.dtype == preview(latents, matrix).dtype == torch.float32


def test_arguments_stay_as_they_are():
    latents, images = drawn(2, 4, 4, 4), drawn(2, 3, 32, 32)
    kept = latents.clone(), images.clone()
    preview(latents, fit_preview(latents, images))
    assert torch.equal(latents, kept[0]) and torch.equal(images, kept[1])


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(ValueError, match="3 latents and 2 images"):
        fit_preview(drawn(3, 4, 4, 4), drawn(2, 3, 32, 32))
    with pytest.raises(ValueError, match="do not divide into 5 x 4"):
        fit_preview(drawn(2, 4, 5, 4), drawn(2, 3, 32, 32))
