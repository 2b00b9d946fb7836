"""The critic of patches: what a score sees, its losses by hand, and how its say is set."""

import pytest
import torch
from torch import nn

from boringfusion_lite.discriminator import (
    PatchDiscriminator,
    adaptive_weight,
    critic_loss,
    fooling_loss,
)


@pytest.fixture(scope="module")
def critic():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PatchDiscriminator(width=8)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size, patches", [(24, 1), (64, 6), (128, 14)])
def test_a_score_for_every_patch(critic, size, patches):
    assert critic(drawn(2, 3, size, size)).shape == (2, 1, patches, patches)


def test_too_small_a_picture_is_told(critic):
    with pytest.raises(ValueError, match="at least 24"):
        critic(drawn(1, 3, 16, 64))


def test_a_score_sees_seventy_pixels():
    """The field of Isola et al.'s PatchGAN, once the norms are taken out."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = PatchDiscriminator(width=8)
    for number, layer in enumerate(plain.layers):
        if isinstance(layer, nn.GroupNorm):
            plain.layers[number] = nn.Identity()
    images = drawn(1, 3, 128, 128).requires_grad_()
    plain(images)[0, 0, 7, 7].backward()
    rows, columns = (images.grad.abs().sum(dim=(0, 1)) > 0).nonzero().unbind(1)
    assert rows.max() - rows.min() + 1 == columns.max() - columns.min() + 1 == 70


def test_a_picture_is_judged_without_its_neighbours(critic):
    images = drawn(3, 3, 64, 64)
    alone = torch.cat([critic(image[None]) for image in images])
    assert torch.allclose(critic(images), alone, atol=1e-5)


def test_the_hinge_by_hand():
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-3.0, 0.0, 2.0])
    assert critic_loss(real, fake).item() == pytest.approx(
        ((0 + 0.5 + 2) / 3 + (0 + 1 + 3) / 3) / 2
    )
    assert critic_loss(torch.zeros(4), torch.zeros(4)) == 1
    assert critic_loss(torch.full((4,), 5.0), torch.full((4,), -5.0)) == 0


def test_fooling_moves_the_picture_and_not_the_critic(critic):
    images = drawn(2, 3, 32, 32).requires_grad_()
    loss = fooling_loss(critic, images)
    assert torch.allclose(loss, -critic(images).mean())
    loss.backward()
    assert images.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in critic.parameters())
    better = images.detach() - 0.1 * images.grad / images.grad.norm()
    assert critic(better).mean() > critic(images).mean()


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e2])
def test_both_pulls_become_equally_strong(scale):
    """However large the scores: the weighted gradient has the norm of the reconstruction's."""
    last, x, truth = drawn(3, 5).requires_grad_(), drawn(5, 4, seed=1), drawn(3, 4, seed=2)
    output = last @ x
    reconstruction, fooling = (output - truth).square().mean(), scale * output.sum()
    weight = adaptive_weight(reconstruction, fooling, last)
    assert not weight.requires_grad
    pulls = [
        torch.autograd.grad(loss, last, retain_graph=True)[0].norm()
        for loss in (reconstruction, weight * fooling)
    ]
    assert pulls[0] == pytest.approx(pulls[1].item(), rel=1e-2)


def test_a_silent_critic_gets_no_endless_say():
    last = torch.ones(3, requires_grad=True)
    assert adaptive_weight(1e6 * last.sum(), 0 * last.sum(), last) == 1e4
