"""The feature distance: zero for equals, larger the further, with gradients for pictures only."""

import pytest
import torch
from tiny import CLIP_CONFIG

from boringfusion_lite.clip import ImageEncoder
from boringfusion_lite.feature_loss import FeatureLoss


@pytest.fixture(scope="module")
def loss():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FeatureLoss(ImageEncoder(CLIP_CONFIG.image))


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)


def test_features_are_unit_vectors_of_every_patch(loss, images):
    found = loss.features(images)
    config = CLIP_CONFIG.image
    patches = (config.image_size // config.patch) ** 2
    assert [x.shape for x in found] == [(2, patches, config.width)] * config.layers
    assert all(torch.allclose(x.norm(dim=-1), torch.ones(2, patches), atol=1e-5) for x in found)


def test_they_are_the_towers_own(loss, images):
    """The class token's output of the tower depends on these states: walk on to its end."""
    tower, seen = loss.tower, []
    handle = tower.layers[-1].register_forward_hook(lambda m, i, out: seen.append(out))
    tower(images)
    loss.features(images)
    handle.remove()
    assert torch.allclose(seen[0], seen[1], atol=1e-5)


def test_zero_for_equals_and_growing_with_the_error(loss, images):
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(2))
    distances = [loss(images + amount * noise, images).item() for amount in (0, 0.05, 0.2, 0.8)]
    assert distances[0] == pytest.approx(0, abs=1e-6)
    assert distances == sorted(distances) and distances[-1] <= 4


def test_other_sizes_are_resized(loss, images):
    assert loss(images[..., :32, :32], images[..., :32, :32]).item() == pytest.approx(0, abs=1e-6)


def test_gradients_reach_the_picture_and_leave_the_tower_alone(loss, images):
    output = (images + 0.1).requires_grad_()
    loss(output, images).backward()
    assert output.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in loss.parameters())
