"""Weighted sums of models: exact at the ends, checked before, nothing edited."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from boringfusion_lite.merging import PARTS, add_difference, merge, nudged, reordered, weighted_sum
from boringfusion_lite.schedule import Schedule
from boringfusion_lite.unet import UNet

A = {"w": torch.tensor([1.0, 2.0]), "n": torch.tensor([7])}
B = {"w": torch.tensor([3.0, 6.0]), "n": torch.tensor([9])}
C = {"w": torch.tensor([2.0, 5.0]), "n": torch.tensor([9])}


@pytest.fixture
def other(sd):
    return replace(sd, **{part: nudged(getattr(sd, part), 0.3, 1) for part in PARTS})


def weights_of(sd):
    return {f"{p}.{k}": v.clone() for p in PARTS for k, v in getattr(sd, p).state_dict().items()}


def equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_by_hand():
    assert weighted_sum(A, B, 0.25)["w"].tolist() == [1.5, 3]
    assert weighted_sum(A, B, 2)["w"].tolist() == [5, 10]
    assert add_difference(A, B, C, 2)["w"].tolist() == [3, 4]
    assert weighted_sum(A, B, 1)["n"].tolist() == [7]


@given(st.integers(0, 10_000), st.sampled_from([torch.float16, torch.bfloat16, torch.float32]))
def test_the_ends_are_exact_in_every_format(seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    a, b, c = ({"w": torch.randn(50, generator=generator).to(dtype)} for _ in range(3))
    assert equal(weighted_sum(a, b, 0), a) and equal(weighted_sum(a, b, 1), b)
    assert equal(add_difference(a, b, c, 0), a) and equal(add_difference(a, b, b, 0.7), a)
    assert weighted_sum(a, b, 0.5)["w"].dtype == dtype


def test_merged_models(sd, other):
    before = weights_of(sd), weights_of(other)
    assert equal(weights_of(merge(sd, other, 0)), before[0])
    assert equal(weights_of(merge(sd, other, 1)), before[1])
    half = weights_of(merge(sd, other))
    for name, weight in half.items():
        torch.testing.assert_close(weight, (before[0][name] + before[1][name]) / 2)
    assert equal(weights_of(sd), before[0]) and equal(weights_of(other), before[1])
    picture = merge(sd, other, 1)("a red house", steps=2)
    assert picture.tobytes() == other("a red house", steps=2).tobytes()


def test_only_the_named_parts(sd, other):
    mixed = merge(sd, other, 1, parts=("unet",))
    assert mixed.vae is sd.vae and mixed.unet is not other.unet
    assert equal(mixed.unet.state_dict(), other.unet.state_dict())


def test_a_lesson_is_moved_to_another_model(sd, other):
    third = replace(sd, unet=nudged(sd.unet, 0.3, 2))
    taught = merge(third, other, 1, minus=sd, parts=("unet",)).unet.state_dict()
    for name, weight in taught.items():
        lesson = other.unet.state_dict()[name] - sd.unet.state_dict()[name]
        torch.testing.assert_close(weight, third.unet.state_dict()[name] + lesson)
    unlearned = merge(other, other, -1, minus=sd).unet.state_dict()
    for name, weight in unlearned.items():
        torch.testing.assert_close(weight, sd.unet.state_dict()[name], atol=1e-6, rtol=0)


def test_what_does_not_fit_is_refused(sd):
    with pytest.raises(ValueError, match="1 weights are in one model only, such as 'n'"):
        weighted_sum(A, {"w": B["w"]}, 0.5)
    with pytest.raises(ValueError, match=r"'w' has shapes \[2\] and \[1\]"):
        add_difference(A, B, C | {"w": torch.ones(1)})
    heads = replace(sd.unet.config, heads=(4, 4))  # the same shapes, other answers
    with pytest.raises(ValueError, match="unets have different configs"):
        merge(sd, replace(sd, unet=UNet(heads)))
    with pytest.raises(ValueError, match="noise schedules"):
        merge(sd, replace(sd, schedule=Schedule.linear()))


def test_a_reordered_network_gives_the_same_answers(tiny_sd):
    unet, vae = reordered(tiny_sd.unet, 3), reordered(tiny_sd.vae, 3)
    x, context = tiny_sd.noise(0), tiny_sd.encode("a red house")
    with torch.no_grad():
        torch.testing.assert_close(
            unet(x, 500, context), tiny_sd.unet(x, 500, context), atol=1e-4, rtol=1e-4
        )
        torch.testing.assert_close(vae.decode(x), tiny_sd.vae.decode(x), atol=1e-4, rtol=1e-4)
    assert not equal(unet.state_dict(), tiny_sd.unet.state_dict())
    for one, two in zip(unet.parameters(), tiny_sd.unet.parameters()):
        torch.testing.assert_close(one.flatten().sort()[0], two.flatten().sort()[0])


def test_a_nudge_has_its_size(tiny_sd):
    before, after = tiny_sd.unet.state_dict(), nudged(tiny_sd.unet, 0.1, 3).state_dict()
    for name, weight in before.items():
        if weight.numel() > 1000:
            moved = (after[name] - weight).std() / weight.std()
            assert moved.item() == pytest.approx(0.1, rel=0.15)
    assert equal(after, nudged(tiny_sd.unet, 0.1, 3).state_dict())
    assert equal(before, nudged(tiny_sd.unet, 0, 3).state_dict())
