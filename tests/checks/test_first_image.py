"""The checkers of page 00 on right answers and on typical wrong ones."""

import pytest
import torch

from boringfusion_lite import checks


@pytest.fixture(scope="module")
def sd(tiny_sd):
    return tiny_sd


def right_settled(sd):
    def pixels(image):
        return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).float()

    def settled(frames, picture):
        far = [(pixels(sd.decode(f.x0)[0]) - pixels(picture)).abs().mean() for f in frames]
        return max(f.step for f, d in zip(frames, far) if d > 0.2 * far[0]) + 1

    return settled


def test_a_picture(sd):
    def right(prompt, seed, steps):
        return sd(prompt, seed=seed, steps=steps)

    assert checks.check_picture(right, sd).passed
    assert checks.check_picture(lambda prompt, seed, steps: None, sd).passed is None
    wrong = checks.check_picture(lambda prompt, seed, steps: sd(prompt, steps=steps), sd)
    assert "seed" in wrong.message and not wrong.passed
    wrong = checks.check_picture(lambda prompt, seed, steps: sd(prompt, seed=seed, steps=2), sd)
    assert "steps" in wrong.message
    wrong = checks.check_picture(lambda prompt, seed, steps: sd.vae.decode(sd.noise(seed)), sd)
    assert "tensor" in wrong.message


def test_a_grid(sd):
    def right(prompts, seeds, steps=8):
        return [[sd(p, seed=s, steps=steps) for s in seeds] for p in prompts]

    def swapped(prompts, seeds, steps=8):
        return [[sd(p, seed=s, steps=steps) for p in prompts] for s in seeds]

    def one_seed(prompts, seeds, steps=8):
        return [[sd(p, seed=seeds[0], steps=steps) for _ in seeds] for p in prompts]

    assert checks.check_grid(right, sd).passed
    assert checks.check_grid(lambda prompts, seeds, steps=8: ..., sd).passed is None
    assert "exchanged" in checks.check_grid(swapped, sd).message
    assert "own seed" in checks.check_grid(one_seed, sd).message


def test_settled(sd):
    right = right_settled(sd)
    assert checks.check_settled(right, sd).passed
    assert checks.check_settled(lambda frames, picture: None, sd).passed is None
    early = checks.check_settled(lambda frames, picture: right(frames, picture) - 1, sd)
    assert "count from 1" in early.message
    assert checks.check_settled(lambda frames, picture: 99, sd).passed is False
