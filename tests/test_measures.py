"""Distances, territories, neighbours and intervals: closed forms, identities, planted copies."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boringfusion_lite import frechet, manifold, memorisation, resampling, sweeps
from boringfusion_lite.clip import CLIP, CLIPConfig, ImageConfig, TextConfig
from boringfusion_lite.clip_score import clip_scores
from boringfusion_lite.features import (
    clip_features,
    from_bytes,
    judge_features,
    resized,
    thumbnails,
)
from boringfusion_lite.judge import Judge
from boringfusion_lite.runtime import generator
from boringfusion_lite.scenes import STARTER, random_scene
from boringfusion_lite.scoring import drawings, wilson

numbers = st.floats(0.1, 5)


def cloud(n, width=4, seed=0, spread=1.0, shift=0.0):
    return spread * torch.randn(n, width, generator=generator(seed)) + shift


def rotation(width, seed=0):
    return torch.linalg.qr(cloud(width, width, seed).double())[0]


# ---- Frechet -------------------------------------------------------------------------------------


@given(st.lists(st.tuples(numbers, numbers, st.floats(-3, 3)), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_frechet_of_independent_gaussians_is_that_of_each_number(rows):
    s1, s2, shift = torch.tensor(rows, dtype=torch.float64).unbind(dim=1)
    wanted = (shift.square() + (s1 - s2).square()).sum().item()
    turn = rotation(len(rows))  # both turned alike: nothing comes nearer
    covs = [turn @ (s**2).diag() @ turn.T for s in (s1, s2)]
    means = torch.zeros_like(shift), turn @ shift
    found = frechet.frechet_gaussians(means[0], covs[0], means[1], covs[1])
    assert found == pytest.approx(wanted, abs=1e-8)
    assert found == pytest.approx(
        frechet.frechet_gaussians(means[1], covs[1], means[0], covs[0]), abs=1e-8
    )


def test_frechet_where_the_covariances_do_not_commute():
    one, other = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.5, 0.5], [0.5, 1.5]])
    zero, product = torch.zeros(2), one @ other
    values = torch.linalg.eigvals(product).real.sqrt().sum()  # trace of the root of C1 C2
    wanted = (one.trace() + other.trace() - 2 * values).item()
    found = frechet.frechet_gaussians(zero, one.double(), zero, other.double())
    assert found == pytest.approx(wanted, abs=1e-6)


def test_frechet_of_sets():
    points = cloud(200)
    assert frechet.frechet_distance(points, points) == pytest.approx(0, abs=1e-9)
    moved = frechet.frechet_distance(points, points + torch.tensor([3.0, 0, 0, 4]))
    assert moved == pytest.approx(25, rel=1e-5)
    assert frechet.frechet_distance(points[:100], points[100:]) > 0.01
    root = frechet.square_root(torch.cov(points.double().T))
    assert torch.allclose(root @ root, torch.cov(points.double().T), atol=1e-10)


def test_frechet_of_too_few_or_other_points():
    with pytest.raises(ValueError, match="N at least 2"):
        frechet.frechet_distance(cloud(1), cloud(5))
    with pytest.raises(ValueError, match="same network"):
        frechet.frechet_distance(cloud(5, 3), cloud(5, 4))
    with pytest.raises(ValueError, match="two sizes"):
        frechet.frechet_at_infinity({50: [1.0]})
    with pytest.raises(ValueError, match="up to 5"):
        frechet.frechet_curve(cloud(5), cloud(9), [6], 1, generator(0))


def test_the_bias_shrinks_and_can_be_extrapolated_away():
    one, other = cloud(4000, 8), cloud(4000, 8, seed=1, spread=1.3)
    sizes = [100, 200, 400, 1000]
    curve = frechet.frechet_curve(one, other, sizes, 5, generator(0))
    means = [sum(curve[n]) / len(curve[n]) for n in sizes]
    assert means == sorted(means, reverse=True)
    truth = 8 * 0.3**2
    assert means[0] > truth + 0.2
    assert frechet.frechet_at_infinity(curve) == pytest.approx(truth, abs=0.12)
    line = {n: [2 + 30 / n] for n in (10, 20, 50)}
    assert frechet.frechet_at_infinity(line) == pytest.approx(2)


# ---- territories ---------------------------------------------------------------------------------


def test_precision_and_recall_of_known_sets():
    real = cloud(300)
    assert manifold.precision_recall(real, real) == (1, 1)
    assert manifold.precision_recall(real, real + 100) == (0, 0)
    narrow = manifold.precision_recall(real, cloud(300, seed=1, spread=0.3))
    assert narrow.precision > 0.95 and narrow.recall < 0.5
    wide = manifold.precision_recall(real, cloud(300, seed=1, spread=3))
    assert wide.precision < 0.5 and wide.recall > narrow.recall


def test_radii_reach_to_the_kth_neighbour():
    line = torch.tensor([[0.0], [1], [3], [7]])
    assert manifold.radii(line, 1).tolist() == [1, 1, 2, 4]
    assert manifold.radii(line, 2).tolist() == [3, 2, 3, 6]
    with pytest.raises(ValueError, match="more points"):
        manifold.radii(line, 4)


def test_spread_of_seeds():
    same = torch.ones(3, 4, 5)
    assert manifold.spread(same) == 0
    pair = torch.tensor([[[0.0, 0], [3, 4]]])
    assert manifold.spread(pair) == pytest.approx(5)
    with pytest.raises(ValueError, match="two seeds"):
        manifold.spread(torch.ones(3, 1, 5))


# ---- copies --------------------------------------------------------------------------------------


def test_planted_copies_are_found():
    training, unseen, ours = cloud(400), cloud(300, seed=1), cloud(300, seed=2)
    usual, which = memorisation.nearest(unseen, training)
    assert torch.allclose((unseen - training[which]).norm(dim=1), usual, atol=1e-6)
    honest, _ = memorisation.nearest(ours, training)
    assert memorisation.nearer_share(honest, usual) == pytest.approx(0.5, abs=0.06)
    copied, which = memorisation.nearest(training[7:9] + 1e-4, training)
    assert which.tolist() == [7, 8]
    assert memorisation.suspects(copied, usual).all()
    assert memorisation.suspects(honest, usual).float().mean() < 0.05
    assert memorisation.nearer_share(copied, usual) == 1
    assert memorisation.nearer_share(usual, usual) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="nothing to be near"):
        memorisation.nearest(ours, training[:0])


def test_the_sheet_holds_the_training_drawings():
    """Some of them, drawn anew."""
    held, few = memorisation.training_thumbnails(), [0, 1, 127, 128, 9_000, 15_999]
    assert held.shape == (16_000, 192)
    drawn = drawings([random_scene(i, STARTER) for i in few])
    torch.testing.assert_close(held[few], thumbnails(drawn), atol=1.01 / 255, rtol=0)


def test_a_sheet_is_read_as_it_was_written(tmp_path):
    points = from_bytes(torch.randint(0, 256, (256, 192), dtype=torch.uint8))
    file = tmp_path / "sheet.png"
    memorisation.as_sheet(points).save(file)
    assert torch.equal(memorisation.training_thumbnails(file), points)
    with pytest.raises(ValueError, match="100 thumbnails fill no whole rows of 128"):
        memorisation.as_sheet(points[:100])
    with pytest.raises(FileNotFoundError, match="data/draw_thumbnails.py"):
        memorisation.training_thumbnails(tmp_path / "none.png")


# ---- how sure ------------------------------------------------------------------------------------


def test_bootstrap_covers_as_often_as_it_says():
    draw, hits = generator(5), 0
    for seed in range(200):
        low, high = resampling.bootstrap(torch.randn(40, generator=draw) + 1, seed=seed)
        hits += low <= 1 <= high
    assert 0.88 <= hits / 200 <= 0.98


def test_bootstrap_of_rates_is_near_wilson_and_takes_other_statistics():
    rights = torch.tensor([1.0] * 40 + [0.0] * 10)
    assert resampling.bootstrap(rights) == pytest.approx(wilson(40, 50), abs=0.04)
    middle = cloud(201, 1)[:, 0]
    low, high = resampling.bootstrap(middle, torch.median)
    assert low < middle.median() < high < low + 0.6
    assert resampling.bootstrap(rights, seed=3) == resampling.bootstrap(rights, seed=3)
    with pytest.raises(ValueError, match="no measurements"):
        resampling.bootstrap(torch.tensor([]))


def test_pairs_cancel_what_is_hard_for_both():
    hard = cloud(60, 1, spread=5)[:, 0]
    better = hard + 0.3 + cloud(60, 1, seed=1, spread=0.2)[:, 0]
    low, high = resampling.paired_difference(hard, better)
    assert 0 < low < 0.3 < high + 0.1 and high - low < 0.2
    with pytest.raises(ValueError, match="no pairs"):
        resampling.paired_difference(hard, better[:5])


@given(st.floats(0, 1), st.floats(0.6, 1), st.floats(0, 0.4))
def test_the_judges_error_is_taken_out(truth, hits, false_alarms):
    said = truth * hits + (1 - truth) * false_alarms
    assert resampling.without_judge_error(said, hits, false_alarms) == pytest.approx(
        truth, abs=1e-9
    )


def test_a_judge_that_tells_nothing():
    with pytest.raises(ValueError, match="tells nothing"):
        resampling.without_judge_error(0.5, 0.3, 0.3)
    assert resampling.without_judge_error(0.0, 0.9, 0.1) == 0


# ---- pictures as points --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def images():
    return torch.rand(5, 3, 32, 32, generator=generator(0)) * 2 - 1


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    text = TextConfig(vocabulary=50, length=7, width=16, layers=1, heads=2)
    image = ImageConfig(image_size=16, patch=8, width=16, layers=1, heads=2)
    return CLIP(CLIPConfig(text=text, image=image, joint_width=8)).eval()


def test_features_are_a_row_a_picture(images, clip):
    judge = Judge(STARTER, size=32, width=16).eval()
    points = judge_features(judge, images)
    assert points.shape == (5, 32) and not points.requires_grad
    assert torch.allclose(judge_features(judge, images[1:2]), points[1:2], atol=1e-5)
    units = clip_features(clip, images)
    assert units.shape == (5, 8)
    assert torch.allclose(units.norm(dim=1), torch.ones(5), atol=1e-5)
    assert resized(images, 32) is images


def test_thumbnails_are_means_of_fields(images):
    small = thumbnails(images, 4).reshape(5, 3, 4, 4)
    assert torch.allclose(small[2, 1, 0, 3], images[2, 1, :8, 24:].mean(), atol=1e-6)


def test_clip_scores_are_the_diagonal_of_all_cosines(images, clip):
    ids = torch.randint(50, (5, 7), generator=generator(1))
    found = clip_scores(clip, lambda captions: ids, images, ["a"] * 5)
    with torch.no_grad():
        every = clip.embed_image(resized(images, 16)) @ clip.embed_text(ids).T
    assert torch.allclose(found, every.diagonal(), atol=1e-5)
    with pytest.raises(ValueError, match="one for each"):
        clip_scores(clip, lambda captions: ids, images, ["a"] * 4)


# ---- what is stored ------------------------------------------------------------------------------


def test_sweeps_are_selected_and_missing_ones_named(tmp_path):
    file, base = tmp_path / "sweeps.json", {"sampler": "ddim", "steps": 20, "guidance": 7.5}
    points = [base | {"calls": 20}, base | {"steps": 5, "calls": 5}]
    points += [base | {"guidance": 1, "calls": 20}]
    gentle = {"steps": 10, "guidance": 3}
    points += [base | gentle | {"calls": 10}]
    points += [base | gentle | {"sampler": "heun", "steps": 5, "calls": 9}]
    with pytest.raises(FileNotFoundError, match="measure_sweeps"):
        sweeps.load_sweeps(file)
    file.write_text(json.dumps({"settings": {}, "facts": {}, "points": points}))
    held = sweeps.load_sweeps(file)
    assert [one["steps"] for one in held.along("steps")] == [5, 20]
    assert [one["guidance"] for one in held.along("guidance")] == [1, 7.5]
    assert [one["sampler"] for one in held.along("sampler")] == ["ddim", "heun"]
    with pytest.raises(ValueError, match="no sweep"):
        held.along("colour")
