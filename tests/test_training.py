"""Training on a handful of small pictures: losses, the loop, and what is done to the weights."""

import math
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from tiny import CLIP_CONFIG, VAE_CONFIG
from tiny_training import (
    CONFIGS,
    COUNT,
    CPU,
    LOSSES,
    SIZE,
    draw_pictures,
    joint_loss,
    ticking_clock,
    unet_loss,
)
from torch import nn

import boringfusion_lite as bf
from boringfusion_lite import (
    dataset,
    finished,
    recipes,
    scenes,
    sharpening,
    train,
    train_all,
    training,
    weights,
)
from boringfusion_lite.captions import vocabulary
from boringfusion_lite.clip import CLIP, TextEncoder
from boringfusion_lite.dataset import Pictures, shuffled
from boringfusion_lite.saving import save
from boringfusion_lite.tokenizer import END, START
from boringfusion_lite.training import MovingAverage, Run
from boringfusion_lite.vae import VAE


@pytest.fixture(scope="module")
def pictures():
    return draw_pictures()


@pytest.fixture(autouse=True)
def seeded():
    """New networks are the same in every run, and nobody else's random numbers change."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def clock(monkeypatch):
    """One training step takes a second."""
    monkeypatch.setattr(training, "time", ticking_clock())


# ---- the three losses ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "progress", "samples"),
    [("vae", 0.1, 24), ("vae", 0.9, 8), ("clip", 0.5, 8), ("unet", 0.5, 8)],
)
def test_every_weight_gets_a_finite_gradient(pictures, tokenizer, name, progress, samples):
    model, loss = LOSSES[name](pictures, tokenizer)
    value, seen = loss(3, progress)
    assert value.isfinite() and value.dtype == torch.float32 and seen == samples
    value.backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name
    assert sum(p.grad.abs().sum() for p in model.parameters()) > 0


@pytest.mark.parametrize(("name", "steps"), [("vae", 8), ("clip", 10), ("unet", 20)])
def test_the_loss_of_one_batch_falls(pictures, tokenizer, clock, tmp_path, name, steps):
    model, loss = LOSSES[name](pictures, tokenizer)

    def same_batch(step, progress, share):
        return loss(0, 0.9)

    run = Run(name, model, same_batch, tmp_path, steps / 60, learning_rate=3e-3, warm_up=1)
    losses = [record.loss for record in run.train()]
    assert len(losses) == steps and losses[-1] < 0.8 * losses[0]


def test_losses_of_a_step_are_the_same_again(pictures, tokenizer):
    _, loss = joint_loss(pictures, tokenizer)
    with torch.no_grad():
        assert loss(7, 0.2)[0] == loss(7, 0.2)[0] != loss(8, 0.2)[0]


def test_a_frozen_text_tower_learns_nothing(pictures, tokenizer, clock, tmp_path):
    model, loss = unet_loss(pictures, tokenizer)
    before = {name: w.clone() for name, w in model.state_dict().items()}
    list(Run("unet", model, loss, tmp_path, 2 / 60, 1e-2, slower=("clip.text_encoder.",)).train())
    changed = {n.partition(".")[0] for n, w in model.state_dict().items() if (w != before[n]).any()}
    assert changed == {"unet"}


def test_unet_and_clip_learn_from_one_sum(pictures, tokenizer, monkeypatch):
    """Denoising and a tenth of the contrast: the text tower hears both, the others one each."""
    monkeypatch.setattr(recipes, "mixed_precision", lambda device: nullcontext())
    model, loss = joint_loss(pictures, tokenizer)
    assert loss.contrast.batch == 4 * loss.batch

    def gradients(of):
        model.zero_grad()
        value, _ = of(3, 0.2)
        value.backward()
        found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        return value, found

    one, denoising = gradients(loss.denoising)
    two, contrast = gradients(loss.contrast)
    both, joint = gradients(loss)
    assert both.item() == pytest.approx((one + 0.1 * two).item())
    heard = {}
    for name, gradient in joint.items():
        zero = torch.zeros_like(gradient)
        parts = denoising.get(name, zero), 0.1 * contrast.get(name, zero)
        torch.testing.assert_close(gradient, sum(parts), rtol=1e-3, atol=1e-6)
        who = re.match(r"unet|clip\.[a-z]+", name)[0]
        heard[who] = heard.get(who, torch.zeros(2)) + torch.stack([p.abs().sum() for p in parts])
    assert {who: (norm > 0).tolist() for who, norm in heard.items()} == {
        "unet": [True, False],
        "clip.text": [True, True],
        "clip.image": [False, True],
        "clip.logit": [False, True],
    }


def test_another_batch_changes_the_pairs_with_it(pictures, tokenizer):
    _, loss = joint_loss(pictures, tokenizer)
    loss.batch = 2
    assert (loss.batch, loss.denoising.batch, loss.contrast.batch) == (2, 2, 8)


def test_one_caption_in_ten_is_left_out(pictures):
    """With networks that do nothing and a tokenizer that counts."""
    seen = []

    def count(captions):
        seen.extend(captions)
        return torch.zeros(len(captions), 77, dtype=torch.long)

    latents = torch.zeros(COUNT, 4, 2, 2)
    text, unet = (lambda ids: ids.float()), (lambda x, t, context: x)
    parts = (unet, text, latents, pictures, count, bf.Schedule(), CPU)
    loss = recipes.UNetLoss(*parts, batch=32)
    for step in range(100):
        loss(step, 0.5)
    assert len(seen) == 3200 and 0.08 < seen.count("") / 3200 < 0.12


def test_the_loss_of_the_unet_weighs_noisy_timesteps_as_v_prediction_does(pictures, tokenizer):
    """A network that says 0 is wrong by the noise, whose mean square is 1: the weights are left."""
    seen, ratios = [], []

    def says_zero(x, t, context):
        seen.append(t)
        return torch.zeros_like(x)

    _, loss = unet_loss(pictures, tokenizer)
    loss.unet = says_zero
    weights = (1 / bf.Schedule().alphas_cumprod).clamp(max=10)
    with torch.no_grad():
        for step in range(20):
            value, _ = loss(step, 0.5)
            ratios.append(value / (weights[seen[-1]] / weights.mean()).mean())
    assert sum(ratios) / 20 == pytest.approx(1, abs=0.05)


def test_the_unet_begins_with_a_single_group_of_things(pictures, tokenizer, monkeypatch):
    _, loss = unet_loss(pictures, tokenizer)
    seen = []
    captions = pictures.captions
    monkeypatch.setattr(pictures, "captions", lambda i, step: seen.extend(i) or captions(i, step))
    with torch.no_grad():
        for step in range(3):
            loss(step, 0.1)
    assert {len(pictures.scene(i).groups) for i in seen} == {1}
    with torch.no_grad():
        for step in range(3):
            loss(step, 0.9)
    assert {len(pictures.scene(i).groups) for i in seen} == {1, 2}


def test_an_error_on_a_thing_counts_four_times(pictures, tokenizer):
    """Networks that are wrong by one, on the things or beside them."""
    _, loss = unet_loss(pictures, tokenizer)
    mask = pictures.thing_mask(loss.all[recipes.shuffled(COUNT, 8, 5, 0)], 8)
    errors = []
    for where in (mask, 1 - mask):

        def wrong(x, t, context, where=where):
            g = recipes.generator(0, 5)
            torch.rand(8, generator=g)  # which captions are left out
            return torch.randn(x.shape, generator=g) + where

        loss.unet = wrong
        with torch.no_grad():
            errors.append(loss(5, 0.9)[0] / where.mean())
    on, beside = errors
    assert on / beside == pytest.approx(4, rel=0.35)  # timesteps weigh too


def test_every_batch_sees_all_timesteps(monkeypatch):
    t = recipes.spread_timesteps(10, 1000, torch.Generator().manual_seed(0))
    assert t.dtype == torch.long and (t // 100).tolist() == list(range(10))
    monkeypatch.setattr(torch, "rand", lambda n, generator: torch.full((n,), 1 - 2**-24))
    assert recipes.spread_timesteps(32, 1000, None).max() == 999


# ---- the loop ------------------------------------------------------------------------------------


def run_on_line(folder, minutes=8 / 60, loss=None, **options):
    """A run that fits a line; its losses depend on the step."""
    model = nn.Linear(3, 2)

    def distance(step, progress, share):
        x = torch.randn(4, 3, generator=recipes.generator(0, step))
        return (model(x) - x[:, :2] - progress).square().mean(), 4

    return Run("line", model, loss or distance, folder, minutes, 1e-2, warm_up=4, **options)


def test_rate_warms_up_and_falls(clock, tmp_path):
    records = list(run_on_line(tmp_path, minutes=100 / 60).train())
    rates = [record.learning_rate for record in records]
    assert rates[0] == pytest.approx(1e-2 / 4) and max(rates) == pytest.approx(1e-2, rel=1e-2)
    assert rates[50] == pytest.approx(0.51e-2) and rates[99] == pytest.approx(0.02e-2, rel=0.1)
    assert [record.step for record in records] == list(range(1, 101))
    assert (records[-1].seconds, records[-1].samples) == (100, 400)


def test_parts_may_learn_at_half_the_rate(clock, tmp_path):
    run = run_on_line(tmp_path, slower=("bias",))
    next(run.train())
    rates = {len(g["params"][0].shape): g["lr"] for g in run.optimizer.param_groups}
    assert rates[1] == rates[2] / 2 > 0


@pytest.mark.parametrize("name", ["line", "unet"])
def test_an_interrupted_run_goes_on_exactly(pictures, tokenizer, clock, tmp_path, name):
    """Stopped in its sixth step, it goes on from what was saved: the losses are the same ones."""

    def new_run(folder):
        if name == "line":
            return run_on_line(folder, save_every=6)
        model, loss = joint_loss(pictures, tokenizer)
        slower = ("clip.text_encoder.",)
        return Run(name, model, loss, folder, 8 / 60, 1e-3, slower, save_every=6)

    whole = new_run(tmp_path / "whole")
    expected = list(whole.train())
    assert len(expected) == 8
    torch.manual_seed(0)
    first = new_run(tmp_path / "broken").train()
    seen = [next(first) for _ in range(5)]
    first.close()
    torch.manual_seed(99)  # other initial weights, which the checkpoint replaces
    again = new_run(tmp_path / "broken")
    resumed_at = again.step
    assert 1 <= resumed_at < 5 and again.samples == expected[resumed_at - 1].samples
    rest = list(again.train())
    losses = [record.loss for record in expected]
    assert [record.loss for record in rest] == losses[resumed_at:]
    assert [record.learning_rate for record in rest] == [
        record.learning_rate for record in expected[resumed_at:]
    ]
    assert [record.loss for record in seen] == losses[:5]
    for ours, theirs in zip(again.average.weights.values(), whole.average.weights.values()):
        assert torch.equal(ours, theirs)
    assert list(new_run(tmp_path / "broken").train()) == []  # its minutes are spent


def test_a_failing_save_leaves_the_old_checkpoint(clock, tmp_path, monkeypatch):
    run = run_on_line(tmp_path)
    steps = run.train()
    next(steps)
    run.save()
    before = run.checkpoint.read_bytes()
    next(steps)

    def full_disk(state, path):
        path.write_bytes(before[:100])
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        run.save()
    assert run.checkpoint.read_bytes() == before
    assert run_on_line(tmp_path).step == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run(clock, tmp_path, value):
    run = run_on_line(tmp_path)
    weight, good = run.model.weight, run.loss

    def breaks(step, progress, share):
        loss, samples = good(step, progress, share)
        return loss * (value if step == 2 else 1), samples

    run.loss, steps = breaks, run.train()
    next(steps), next(steps)
    run.save()
    before = weight.detach().clone()
    with pytest.raises(FloatingPointError, match=f"line is {value} at step 2") as caught:
        next(steps)
    assert str(run.checkpoint) in str(caught.value)
    assert torch.equal(weight, before) and run_on_line(tmp_path).step == 2


def test_moving_average_by_hand():
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(1.0)
    average = MovingAverage(model, decay=0.5)
    for step, (weight, expected) in enumerate(
        [(3.0, 2.8), (5.0, 5 - 2.2 * 2 / 11), (5.0, 5 - 2.2 * 2 / 11 * 0.25)]
    ):
        model.weight.data.fill_(weight)
        average.update(model, step)  # keeps 1/10, 2/11, 3/12 of what it had
        assert average.weights["weight"].item() == pytest.approx(expected)
    model.weight.data.fill_(0.0)
    average.update(model, 10**6)  # by now the decay itself
    assert average.weights["weight"].item() == pytest.approx(expected / 2)
    assert model.weight.item() == 0


# ---- what is done to the weights -----------------------------------------------------------------


def test_standardise_moves_no_pixel(pictures):
    vae, images = VAE(VAE_CONFIG), pictures.images(range(COUNT))
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)

    def reconstructions():
        with torch.no_grad():
            g = torch.Generator().manual_seed(1)
            return vae.decode(vae.encode(images[:4])), vae.decode(vae.encode(images[:4], g))

    before = reconstructions()
    weights.standardise(vae, images)
    for old, new in zip(before, reconstructions()):
        assert old.std() > 0.01
        torch.testing.assert_close(new, old, atol=1e-4, rtol=0)
    with torch.no_grad():
        latents = vae.encode(images)
    torch.testing.assert_close(latents.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(latents.std(dim=(0, 2, 3)), torch.ones(4), atol=1e-3, rtol=0)


def test_forget_unsaid_zeroes_what_is_never_said_and_nothing_else(tokenizer):
    words, encoder = vocabulary(scenes.STARTER), TextEncoder(CLIP_CONFIG.text)
    before = encoder.token_embedding.weight.detach().clone()
    weights.forget_unsaid(encoder, tokenizer, words)
    after = encoder.token_embedding.weight.detach()
    said = {START, END} | {p.id for word in [*words, ",", "."] for p in tokenizer.pieces(word)}
    assert set(after.any(dim=1).nonzero()[:, 0].tolist()) == said
    assert torch.equal(after[sorted(said)], before[sorted(said)])


def test_every_caption_is_said(tokenizer, tiny_sd):
    for seed in range(300):
        scene = scenes.random_scene(seed, scenes.STARTER)
        caption = scene.reworded(seed)[0]
        assert tiny_sd.known_tokens[tokenizer(caption)].all(), caption


def test_cropping_changes_no_embedding(tiny_clip, tokenizer):
    ids = tokenizer(["a red house", "photo of a couch, photorealistic", ""])
    short = recipes.cropped(ids)
    assert short.shape == (3, 9)
    with torch.no_grad():
        torch.testing.assert_close(tiny_clip.embed_text(short), tiny_clip.embed_text(ids))


def test_clip_begins_with_small_tokens_and_positions():
    torch.manual_seed(0)
    clip = weights.start_quiet(CLIP(CLIP_CONFIG))
    stds = [
        clip.text_encoder.token_embedding.weight.std(),
        clip.text_encoder.position_embedding.weight.std(),
        clip.image_encoder.position_embedding.weight.std(),
    ]
    wanted = 0.02, 0.01, CLIP_CONFIG.image.width**-0.5
    assert all(abs(std / want - 1) < 0.2 for std, want in zip(stds, wanted))


def test_the_encoder_starts_certain():
    _, logvar = weights.start_certain(VAE(VAE_CONFIG)).moments(torch.zeros(1, 3, 16, 16))
    assert -7 < logvar.min() and logvar.max() < -5


# ---- data ----------------------------------------------------------------------------------------


def test_nearly_right_captions_are_wrong(pictures):
    everything = np.arange(COUNT)
    for step in range(100):
        true, wrong = (
            make(everything, step) for make in (pictures.captions, pictures.near_captions)
        )
        assert all(a != b for a, b in zip(true, wrong))
        assert wrong == pictures.near_captions(everything, step)
    assert pictures.captions(everything, 1) != pictures.captions(everything, 2)


def facts(scene):
    return [fact for g in scene.groups for fact in (g.thing, g.colour)] + [scene.place]


def test_one_fact_is_wrong_and_each_of_them_comes_up():
    rng, seen = np.random.default_rng(0), set()
    for index in range(300):
        scene = scenes.random_scene(index, scenes.STARTER)
        before, after = facts(scene), facts(dataset.one_fact_wrong(scene, scenes.STARTER, rng))
        changed = [i for i, (was, now) in enumerate(zip(before, after, strict=True)) if was != now]
        assert len(changed) == 1 or sorted(map(str, before)) == sorted(map(str, after))  # a swap
        seen |= {(len(before), *changed)}
    assert {(3, 0), (3, 1), (3, 2)} <= seen  # one group of things: thing, colour, place
    assert {(5, 0), (5, 1), (5, 2), (5, 3), (5, 0, 2), (5, 1, 3)} <= seen  # two, and their swaps


def test_an_epoch_shows_every_picture_once():
    epoch = np.concatenate([shuffled(20, 4, step, seed=3) for step in range(5)])
    assert sorted(epoch) == list(range(20))
    assert (epoch[:4] == shuffled(20, 4, 0, seed=3)).all()
    assert (epoch[:4] != shuffled(20, 4, 5, seed=3)).any()
    with pytest.raises(ValueError, match="3 pictures are too few for batches of 4"):
        shuffled(3, 4, 0, seed=3)


def test_pictures_come_in_the_order_asked_for(pictures):
    indices = np.array([5, 2, 9])
    for image, mask, i in zip(pictures.images(indices), pictures.thing_mask(indices), indices):
        expected = torch.from_numpy(np.asarray(pictures.scene(i).draw(SIZE)).copy())
        assert torch.equal(((image + 1) * 127.5).round().byte(), expected.permute(2, 0, 1))
        thing = pictures.scene(i).placed[0]
        assert mask[0, int(thing.y * SIZE), int(thing.x * SIZE)] == 1
        assert 0 < mask.mean() < 0.9


def test_pictures_are_drawn_once(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "ProcessPoolExecutor", ThreadPoolExecutor)
    drawn = Pictures.drawn(scenes.STARTER, 3, tmp_path, size=32)
    monkeypatch.setattr(dataset, "render", None)
    again = Pictures.drawn(scenes.STARTER, 3, tmp_path, size=32)
    assert len(drawn) == 3 and (drawn.pixels == again.pixels).all()
    assert (drawn.places == again.places).all()


def test_crops_hold_a_thing(pictures):
    indices = np.arange(8)
    images, mask = pictures.images(indices), pictures.thing_mask(indices)
    g = torch.Generator().manual_seed(0)
    squares, inside = recipes.crop_around_things(images, mask, 24, g)
    assert squares.shape == (8, 3, 24, 24) and inside.shape == (8, 1, 24, 24)
    assert (inside.sum(dim=(1, 2, 3)) > 0).all()


# ---- the commands --------------------------------------------------------------------------------


@pytest.fixture
def small_world(pictures, clock, monkeypatch):
    """What the commands train becomes tiny."""
    monkeypatch.setattr(Pictures, "drawn", lambda *args: pictures)
    for name, config in CONFIGS.items():
        monkeypatch.setattr(recipes, name, config)


def test_the_commands(small_world, pictures, tmp_path, capsys):
    """Two steps each, on tiny networks: what comes out is a model that draws."""
    options = ["--device", "cpu", "--batch", "8"]
    options += ["--runs", str(tmp_path / "runs"), "--minutes", str(2 / 60)]
    with pytest.raises(FileNotFoundError, match=r"train vae --runs"):
        train.main(["unet", *options])
    for what in ("vae", "clip", "unet"):
        train.main([what, *options])
    train.main(["unet", *options[:-1], str(4 / 60)])  # goes on
    denoiser = finished.state("unet", tmp_path / "runs")
    assert denoiser["step"] == 4
    train.main(["publish", *options, "--output", str(tmp_path / "model")])
    assert capsys.readouterr().out == f"{tmp_path / 'model'}: written\n"
    sd, clip = bf.load(tmp_path / "model"), bf.load_clip(tmp_path / "model")
    assert sd("photo of a couch", steps=1).size == (SIZE, SIZE)
    assert sd.unknown_words("a red dragon") == ["dragon"]
    for name, weight in clip.state_dict().items():
        if "token_embedding" not in name:  # whose unsaid rows are forgotten
            assert torch.equal(weight.half(), denoiser["average"][f"clip.{name}"].half()), name
        if name.startswith("text_encoder."):
            own = sd.text_encoder.state_dict()[name.removeprefix("text_encoder.")]
            assert torch.equal(weight, own)
    with torch.no_grad():
        latents = sd.vae.encode(pictures.images(range(COUNT)))
    assert latents.std() == pytest.approx(1, abs=0.02)
    for name, critic in (("again", []), ("sharper", ["--critic"])):
        (tmp_path / "runs" / "vae-again.pt").unlink(missing_ok=True)
        train.main(["vae-again", *options, *critic])  # another decoder for the same latents
        train.main(["publish", *options, "--output", str(tmp_path / name)])
        again = bf.load(tmp_path / name)
        with torch.no_grad():
            assert torch.equal(again.vae.encode(pictures.images(range(COUNT))), latents)
            assert not torch.equal(again.vae.decode(latents), sd.vae.decode(latents))


def test_the_unet_goes_on_from_a_published_model(small_world, tmp_path):
    """Without any checkpoint: its own VAE makes the latents, and is published again."""
    runs, others = tmp_path / "runs", tmp_path / "others"
    first, second = tmp_path / "first", tmp_path / "second"
    others.mkdir()
    options = ["--device", "cpu", "--batch", "8", "--minutes", str(2 / 60), "--runs"]
    for what in ("vae", "clip", "unet"):
        train.main([what, *options, str(runs)])
    train.main(["publish", *options, str(runs), "--output", str(first)])
    marked(first)
    options += [str(others), "--start-from", str(first)]
    train.main(["unet", *options])
    assert {path.stem.split("-")[0] for path in others.iterdir()} == {"unet", "latents"}
    train.main(["publish", *options, "--output", str(second)])
    vae = "vae/diffusion_pytorch_model.safetensors"
    assert (first / vae).read_bytes() == (second / vae).read_bytes()
    before, after = (bf.load(folder).unet.conv_out for folder in (first, second))
    assert after.bias.min() > 0.4 and not torch.equal(before.weight, after.weight)
    train.main(["vae-again", *options])  # so does its decoder
    train.main(["publish", *options, "--output", str(second)])
    old, new = (bf.load(folder).vae.state_dict() for folder in (first, second))
    changed = {name for name, weight in new.items() if not torch.equal(weight, old[name])}
    assert changed and all(name.startswith(sharpening.DECODER) for name in changed)


def marked(folder):
    """A published UNet that no fresh one is like."""
    sd, clip = bf.load(folder), bf.load_clip(folder)
    sd.unet.conv_out.bias.data += 0.5
    save(sd, folder, tokenizer=bf.runtime.bundled_folder() / "tokenizer", clip=clip)


@pytest.mark.parametrize("critic", [[], ["--critic"]])
def test_a_published_decoder_goes_on_alone(small_world, tmp_path, critic):
    options = ["--device", "cpu", "--batch", "8", "--minutes", str(2 / 60), "--runs"]
    for what in ("vae", "clip", "unet"):
        train.main([what, *options, str(tmp_path / "runs")])
    train.main(["publish", *options, str(tmp_path / "runs"), "--output", str(tmp_path / "first")])
    options += [str(tmp_path / "others"), "--start-from", str(tmp_path / "first")]
    train.main(["vae-again", *options, *critic])
    train.main(["publish", *options, "--output", str(tmp_path / "second")])
    old, new = (bf.load(tmp_path / name) for name in ("first", "second"))
    weight = "decoder.conv_out.weight"
    assert not torch.equal(old.vae.state_dict()[weight], new.vae.state_dict()[weight])
    for name, kept in old.unet.state_dict().items():
        assert torch.equal(kept, new.unet.state_dict()[name])
    train.main(["clip", *options])  # a CLIP that the published UNet has never met: not mixed in
    train.main(["publish", *options, "--output", str(tmp_path / "third")])
    third = bf.load(tmp_path / "third").text_encoder.state_dict()
    for name, kept in old.text_encoder.state_dict().items():
        assert torch.equal(kept, third[name])


def test_a_unet_is_not_mixed_with_another_vae(small_world, tmp_path):
    options = ["--device", "cpu", "--batch", "8", "--runs", str(tmp_path), "--minutes"]
    for what in ("vae", "clip", "unet"):
        train.main([what, *options, str(2 / 60)])
    with pytest.raises(ValueError, match="'world': 'starter'.*'world': 'all'.*Repeat the options"):
        train.main(["publish", *options, "1", "--world", "all", "--output", str(tmp_path / "no")])
    with pytest.raises(ValueError, match="another training, with other options"):
        train.main(["unet", *options, str(4 / 60), "--freeze-text"])
    train.main(["vae-again", *options, str(2 / 60)])
    with pytest.raises(ValueError, match="'critic': False.*'critic': True"):
        train.main(["vae-again", *options, str(4 / 60), "--critic"])
    train.main(["vae", *options, str(4 / 60)])  # another encoder
    with pytest.raises(ValueError, match="vae-again.pt belongs to .*delete it"):
        train.main(["vae-again", *options, str(4 / 60)])
    (tmp_path / "vae-again.pt").unlink()
    for what in ("unet", "publish"):
        with pytest.raises(ValueError, match="unet.pt belongs to .*'encoder'.*delete it"):
            train.main([what, *options, str(4 / 60), "--output", str(tmp_path / "no")])
    assert not (tmp_path / "no").exists()


def test_a_critic_belongs_to_vae_again(capsys):
    with pytest.raises(SystemExit):
        train.main(["vae", "--critic"])
    assert "--critic belongs to vae-again" in capsys.readouterr().err


def test_without_the_text_tower_clip_stays_as_it_was(small_world, tmp_path):
    options = ["--device", "cpu", "--batch", "8", "--minutes", str(2 / 60), "--freeze-text"]
    options += ["--runs", str(tmp_path)]
    for what in ("vae", "clip", "unet"):
        train.main([what, *options])
    clip, denoiser = finished.state("clip", tmp_path), finished.state("unet", tmp_path)
    for name, weight in clip["average"].items():
        assert torch.equal(weight, denoiser["average"][f"clip.{name}"])


def test_all_commands_in_a_row_after_an_estimate(small_world, tmp_path, monkeypatch, capsys):
    runs, model = tmp_path / "runs", tmp_path / "model"
    monkeypatch.setattr(train_all, "STEPS", 2)
    options = ["--batch", "4", "--runs", str(runs), "--output", str(model), "--device", "cpu"]
    options += ["--accumulate", "2"]
    runs.mkdir()
    torch.save({"seconds": 100 * 60.0}, runs / "unet.pt")  # minutes that are no longer to come
    train_all.main([*options, "--estimate"])
    said = capsys.readouterr().out
    assert said.startswith("4 h 42 min of training from now on")
    told = dict(re.findall(r"^([a-z]+) +(\d.*)", said, re.MULTILINE))
    assert list(told) == list(train.RUNS) == list(train_all.BUNDLED_SAW)
    saw = f"{train_all.BUNDLED_SAW['vae']:,}"
    assert told["vae"].split() == ["40", "29,000", saw]  # 12 samples a second
    assert [path.name for path in runs.iterdir()] == ["unet.pt"] and not model.exists()
    (runs / "unet.pt").unlink()
    train_all.main([*options, "--minutes", str(6 / 60)])
    steps = {what: finished.state(what, runs)["step"] for what in train.RUNS}
    assert steps == {"vae": 1, "clip": 1, "unet": 6}  # as 40, 12 and 330 are
    assert bf.load(model)("photo of a couch", steps=1).size == (SIZE, SIZE)
