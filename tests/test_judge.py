"""The judge: what it says of perfect evidence, that it learns, that it can be stored."""

from itertools import islice

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from boringfusion_lite import judge as module
from boringfusion_lite.dataset import Pictures, render
from boringfusion_lite.judge import Evidence, Judge, decode, judge_loss, truth
from boringfusion_lite.scenes import STARTER, WORLD, World, random_scene
from boringfusion_lite.scoring import score_images
from boringfusion_lite.vae import VAE, VAEConfig

SMALL = World(
    ("couch", "tree", "star"), ("red", "green", "blue"), ("plain white", "at night"),
    ("flat drawing", "pencil sketch"),
)  # fmt: skip
SCENES = [random_scene(seed, WORLD, "all") for seed in range(50)]


def logits(indices, names, axis=1):
    return 20 * F.one_hot(indices, names).float().movedim(-1, axis)


def perfect(scenes, world, grid=16):
    """What a network that knows everything would answer."""
    near, true = truth(scenes, world, grid)
    things = F.one_hot(true.things, len(world.things)) * near[..., None]
    things = torch.cat([things, 1 - near[..., None]], dim=-1).movedim(-1, 1).clamp(1e-9).log()
    return Evidence(
        things,
        logits(true.colours, len(world.colours)),
        logits(true.sizes, 3),
        logits(true.surroundings, len(world.surroundings)),
        logits(true.styles, len(world.styles)),
    )


def drawn(world, n, first=0, size=64):
    made = [render(i, world, "all", size) for i in range(first, first + n)]
    pixels, places = (np.stack(parts) for parts in zip(*made))
    return Pictures(world, first, pixels, places, "all")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A judge after a few seconds, and its world's unseen pictures."""
    torch.manual_seed(0)
    sources = [drawn(SMALL, 512)]
    run = module.judge_run(sources, tmp_path_factory.mktemp("runs"), 1000, size=64, width=16)
    run.warm_up, run.learning_rate, run.loss.batch = 20, 5e-3, 32
    losses = [record.loss for record in islice(run.train(), 300)]
    return run.model.eval(), losses


@pytest.mark.parametrize("grid", [8, 16])
def test_perfect_evidence_reads_as_the_scene(grid):
    readings = decode(perfect(SCENES, WORLD, grid), WORLD)
    for scene, reading in zip(SCENES, readings, strict=True):
        expected = sorted((one.thing, one.colour, one.x, one.y) for one in scene.placed)
        seen = sorted((one.thing, one.colour, one.x, one.y) for one in reading.things)
        assert [one[:2] for one in seen] == [one[:2] for one in expected]
        assert (reading.surroundings, reading.style) == (scene.surroundings, scene.style)
        for one in scene.placed:
            error = min(max(abs(one.x - f.x), abs(one.y - f.y)) for f in reading.things)
            assert error <= 0.5 / grid + 1e-6
        for group in scene.labels["groups"]:
            sizes = {one.size for one in reading.things if one.thing == group["thing"]}
            assert group["size"] is None or sizes == {group["size"]}
        confidences = [one.confidence for one in reading.things]
        assert confidences == sorted(confidences, reverse=True) and min(confidences) > 0.6


def test_what_is_not_clearly_one_thing_is_none():
    evidence = perfect(SCENES[:4], WORLD)
    undecided = evidence._replace(things=torch.zeros_like(evidence.things))
    assert all(reading.things == () for reading in decode(undecided, WORLD))
    assert all(reading.things == () for reading in decode(evidence, WORLD, threshold=1.0))


def test_the_loss_wants_the_truth():
    near, true = truth(SCENES, WORLD, 16)
    said = perfect(SCENES, WORLD)
    best = judge_loss(said, near, true)
    for field, answers in zip(Evidence._fields, true):
        wrong = true._replace(**{field: (answers + 1) % 3})
        assert judge_loss(said, near, wrong) > best + 5, field


def test_it_learns(trained):
    judge, losses = trained
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])
    unseen = drawn(SMALL, 100, first=5000)
    labels = [unseen.scene(i).labels for i in range(100)]
    counts = score_images(judge, unseen.images(np.arange(100)), labels)
    rate = {aspect: right / said for aspect, (right, said) in counts.items()}
    assert min(rate["thing"], rate["colour"]) > 0.5, rate  # by chance, a third
    assert min(rate["style"], rate["surroundings"]) > 0.8, rate  # by chance, half
    assert rate["count"] > 0.6 and rate["everything"] > 0.15, rate  # by chance, next to nothing


def test_it_reads_pictures_of_any_size(trained):
    judge, _ = trained
    picture = drawn(SMALL, 3, size=128).images(np.arange(3))
    for size in (64, 128, 200):
        readings = judge.read(F.interpolate(picture, (size, size)))
        assert len(readings) == 3 and readings[0].style in SMALL.styles


def test_it_is_small_and_quick():
    judge = Judge(WORLD)
    assert sum(p.numel() for p in judge.parameters()) < 500_000
    evidence = judge(torch.zeros(1, 3, 128, 128))
    assert evidence.things.shape == (1, len(WORLD.things) + 1, 16, 16)
    assert evidence.styles.shape == (1, len(WORLD.styles))


def test_stored_and_loaded_it_says_the_same(trained, tmp_path):
    judge, _ = trained
    module.save_judge(judge, tmp_path / "judge")
    again = module.load_judge(tmp_path / "judge")
    images = drawn(SMALL, 8, first=7000).images(np.arange(8))
    assert again.world == SMALL and again.size == 64
    for a, b in zip(judge(images), again(images)):
        assert torch.allclose(a, b, atol=0.05)


def test_weights_of_another_world_are_refused(trained, tmp_path):
    judge, _ = trained
    module.save_judge(judge, tmp_path)
    module.write_json(tmp_path / "config.json", {
        "size": 64, "width": 16, "world": module.asdict(STARTER),
    })  # fmt: skip
    with pytest.raises(ValueError, match="do not fit"):
        module.load_judge(tmp_path)
    with pytest.raises(FileNotFoundError, match="missing"):
        module.load_judge(tmp_path / "nowhere")


def test_a_run_goes_on_where_it_stopped(tmp_path):
    sources = [drawn(SMALL, 32), drawn(SMALL, 16, first=100)]
    first = module.judge_run(sources, tmp_path, 1000, size=64, width=16)
    first.loss.batch = 8
    assert [record.samples for record in islice(first.train(), 2)] == [8, 16]
    first.save()
    second = module.judge_run(sources, tmp_path, 1000, size=64, width=16)
    assert second.step == 2 and second.samples == 16
    for a, b in zip(first.model.parameters(), second.model.parameters()):
        assert torch.equal(a, b)


def test_reconstructions_are_8_bit_pictures_of_the_same_scenes():
    config = VAEConfig(sample_size=64, channels=(8, 8, 8, 8), blocks_per_level=1, groups=4)
    pictures = drawn(SMALL, 6)
    copies = module.reconstructed(VAE(config).eval(), pictures, 4)
    assert copies.pixels.shape == (4, 64, 64, 3) and copies.pixels.dtype == np.uint8
    assert copies.scene(3) == pictures.scene(3) and len(copies.places) == 4
    images = module.rounded(torch.linspace(-2, 2, 999))
    assert images.min() == -1 and images.max() == 1 and len(images.unique()) == 256


def test_disturbing_changes_pictures_only_a_little():
    images = drawn(SMALL, 8).images(np.arange(8))
    g = torch.Generator().manual_seed(0)
    changed = module.disturbed(images, g)
    assert changed.shape == images.shape
    assert 0.01 < (changed - images).abs().mean() < 0.15
    assert torch.equal(changed, module.disturbed(images, g.manual_seed(0)))
