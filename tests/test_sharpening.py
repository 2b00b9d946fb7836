"""A decoder trained on against a critic: the latents stay, the decoder changes, old weights fit."""

import pytest
import torch
from tiny import CLIP_CONFIG, VAE_CONFIG
from tiny_training import CPU, draw_pictures, ticking_clock

from boringfusion_lite import recipes, training
from boringfusion_lite.clip import ImageEncoder
from boringfusion_lite.sharpening import DECODER, contest, with_decoder
from boringfusion_lite.training import Run
from boringfusion_lite.vae import VAE


@pytest.fixture(scope="module")
def pictures():
    return draw_pictures()


@pytest.fixture
def both(pictures):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae, loss = contest(VAE(VAE_CONFIG), ImageEncoder(CLIP_CONFIG.image), pictures, CPU)
    loss.batch = 2
    return vae, loss


def test_the_latents_stay_and_the_pictures_change(both, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "time", ticking_clock())
    model, loss = both
    images, first = (
        pictures.images(range(4)),
        {n: w.clone() for n, w in model.vae.state_dict().items()},
    )
    with torch.no_grad():
        latents, views = model.vae.encode(images), model.vae.decode(model.vae.encode(images))
    critic = [weight.clone() for weight in model.critic.parameters()]
    run = Run("vae-again", model, loss, tmp_path, 4 / 60, 1e-3, warm_up=1)
    assert len(list(run.train())) == 4
    with torch.no_grad():
        assert torch.equal(model.vae.encode(images), latents)
        assert not torch.allclose(model.vae.decode(latents), views, atol=1e-3)
    assert any(not torch.equal(a, b) for a, b in zip(critic, model.critic.parameters()))
    later = with_decoder(first, run.average.weights)
    vae = VAE(VAE_CONFIG)
    vae.load_state_dict(later)
    with torch.no_grad():
        assert torch.equal(vae.encode(images), latents)
    changed = {name for name, weight in later.items() if not torch.equal(weight, first[name])}
    assert changed and all(name.startswith(DECODER) for name in changed)


def test_a_decoder_of_another_vae_is_refused(both):
    model, _ = both
    other = {name: weight + 1 for name, weight in model.vae.state_dict().items()}
    with pytest.raises(ValueError, match="another VAE.*Delete it"):
        with_decoder(other, model.state_dict())


def test_the_critic_has_no_say_in_the_first_step(both):
    """Only its own lesson is added, about 1; the decoder's gradient is that of the other terms."""
    model, loss = both
    gradients = []
    for critic in (model.critic, None):
        loss.extra.critic = critic
        model.zero_grad()
        loss(0, 0.0)[0].backward()
        gradients.append(model.vae.decoder.conv_out.weight.grad.clone())
    assert torch.allclose(*gradients, rtol=1e-3, atol=1e-6)


def test_later_it_has(both):
    """The gradient of the decoder's last layer then has a second part, as strong as agreed on."""
    model, loss = both
    loss.extra.features, loss.extra.critic_weight = None, 0.5
    last, gradients = model.vae.decoder.conv_out.weight, []
    for begins in (0.6, 0.9):
        loss.extra.begins = begins
        model.zero_grad()
        loss(0, 0.8)[0].backward()
        gradients.append(last.grad.clone())
    spoken, silent = gradients
    assert (spoken - silent).norm() == pytest.approx(0.5 * silent.norm().item(), rel=0.1)


def test_what_is_added_to_the_loss(pictures):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = VAE(VAE_CONFIG)
    with torch.no_grad():
        plain, same, only_l1 = (
            recipes.VAELoss(vae, pictures, CPU, batch=2, **options)(3, 0.9)[0]
            for options in ({}, {"extra": lambda i, o, loss, p: 0 * loss + p}, {"l2": 0.0})
        )
    assert same.item() == pytest.approx(plain.item() + 0.9) and only_l1 < plain
