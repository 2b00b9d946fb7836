"""Lines, arcs and walks between two pictures."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from boringfusion_lite.interpolation import lerp, slerp, walk

PROMPTS, OPTIONS = ("a red house", "a blue boat"), {"steps": 2, "guidance_scale": 3}


def draws(seed, shape=(3, 4, 8, 8)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def test_ends_are_exact():
    one, other = draws(0)
    for way in (lerp, slerp):
        assert torch.equal(way(one, other, 0), one) and torch.equal(way(one, other, 1), other)


def test_a_quarter_turn():
    one, other = torch.tensor([[3.0, 0]]), torch.tensor([[0, 3.0]])
    torch.testing.assert_close(slerp(one, other, 1 / 3), torch.tensor([[3 * 0.75**0.5, 1.5]]))
    torch.testing.assert_close(lerp(one, other, 0.5), torch.tensor([[1.5, 1.5]]))


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_the_arc_keeps_the_length_and_divides_the_angle(seed, share):
    one, other = (torch.nn.functional.normalize(x.flatten(1)) for x in draws(seed))
    between = slerp(one, other, share)
    torch.testing.assert_close(between.norm(dim=1), torch.ones(3))
    angles = [torch.cosine_similarity(one, x).clamp(-1, 1).arccos() for x in (between, other)]
    torch.testing.assert_close(angles[0], share * angles[1], atol=2e-3, rtol=0)
    torch.testing.assert_close(between, slerp(other, one, 1 - share), atol=1e-5, rtol=1e-5)


def test_halfway_noise_is_noise_on_the_arc_and_too_quiet_on_the_line():
    one, other = draws(1, (1, 4, 64, 64))
    assert slerp(one, other, 0.5).std().item() == pytest.approx(1, abs=0.02)
    assert lerp(one, other, 0.5).std().item() == pytest.approx(0.5**0.5, abs=0.02)


def test_each_picture_of_a_batch_has_its_own_arc():
    one, other = draws(2)
    alone = torch.cat([slerp(a, b, 0.3) for a, b in zip(one.split(1), other.split(1))])
    assert torch.equal(slerp(one, other, 0.3), alone)


def test_parallel_opposite_and_misshapen():
    one, _ = draws(3)
    torch.testing.assert_close(slerp(one, one, 0.4), one)
    torch.testing.assert_close(slerp(one, 2 * one, 0.5), 1.5 * one)
    assert slerp(one.half(), -one.half().roll(1), 0.5).dtype == torch.float16
    with pytest.raises(ValueError, match="opposite"):
        slerp(one, -one, 0.5)
    for way in (lerp, slerp):
        with pytest.raises(ValueError, match="one shape"):
            way(one, one[:1], 0.5)


def test_a_walk_begins_and_ends_where_it_should(tiny_sd):
    *_, way = walk(tiny_sd, 3, PROMPTS, (4, 9), **OPTIONS)
    for place, prompt, seed in ((0, PROMPTS[0], 4), (2, PROMPTS[1], 9)):
        *_, alone = tiny_sd.sample(prompt, seed=seed, **OPTIONS)
        torch.testing.assert_close(way.x[[place]], alone.x, atol=1e-4, rtol=0)
    assert not torch.allclose(way.x[1], way.x[0]) and not torch.allclose(way.x[1], way.x[2])


def test_a_walk_between_prompts_keeps_the_noise(tiny_sd):
    seeds = []
    fresh = {"sampler": "ddpm", "height": 48, "width": 40}
    for share_nothing in (PROMPTS, (PROMPTS[0],) * 2):
        *_, way = walk(tiny_sd, 3, share_nothing, (4, 4), **OPTIONS, **fresh)
        seeds.append(way.x)
    assert seeds[0].shape == (3, 4, 6, 5)
    torch.testing.assert_close(seeds[1], seeds[1][:1].expand_as(seeds[1]), atol=1e-4, rtol=0)
    torch.testing.assert_close(seeds[0][0], seeds[1][0], atol=1e-4, rtol=0)


def test_it_takes_two(tiny_sd):
    with pytest.raises(ValueError, match="takes two"):
        walk(tiny_sd, 1, PROMPTS)
