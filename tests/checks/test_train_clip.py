"""The checkers of page 09 on right answers and on typical wrong ones."""

import math

import torch
import torch.nn.functional as F

from boringfusion_lite import checks, clip
from boringfusion_lite.checks.train_clip import shared_targets


def nothing(*args):
    """An exercise as the page leaves it."""


def refused(check, wrong: dict) -> None:
    assert check(nothing).passed is None
    for cause, answer in wrong.items():
        verdict = check(answer)
        assert verdict.passed is False and cause in verdict.message, verdict


def logits(images, texts, temperature):
    return F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T / temperature


def rows(matrix):
    return F.cross_entropy(matrix, torch.arange(len(matrix)))


def test_both_ways():
    assert checks.check_both_ways(lambda *a: clip.contrastive_loss(logits(*a))).passed
    wrong = {
        "Only the pictures choose": lambda *a: rows(logits(*a)),
        "Only the captions choose": lambda *a: rows(logits(*a).T),
        "length 1": lambda i, t, tau: clip.contrastive_loss(i @ t.T / tau),
        "the mean, not the sum": lambda *a: 2 * clip.contrastive_loss(logits(*a)),
        "divided by the temperature": lambda i, t, tau: clip.contrastive_loss(
            logits(i, t, 1 / tau)
        ),
    }
    refused(checks.check_both_ways, wrong)


def test_scaled():
    assert checks.check_scaled(lambda c, s: c * s.exp().clamp(max=100)).passed
    assert checks.check_scaled(lambda c, s: c * s.clamp(max=math.log(100)).exp()).passed
    wrong = {
        "Divided": lambda c, s: c / s.exp().clamp(max=100),
        "no bound": lambda c, s: c * s.exp(),
        "no gradient": lambda c, s: c * min(math.exp(s.item()), 100),
        "logarithm": lambda c, s: c * s,
    }
    refused(checks.check_scaled, wrong)


def test_targets():
    assert checks.check_targets(shared_targets).passed
    wrong = {
        "still counted as wrong": lambda captions: torch.eye(len(captions)),
        "add up to 1": lambda captions: (shared_targets(captions) > 0).float(),
        "are gone": lambda captions: torch.eye(len(captions)) * (shared_targets(captions) == 1),
        "each row should": lambda captions: shared_targets(captions) / len(captions),
    }
    refused(checks.check_targets, wrong)


def test_shared_targets_are_the_plain_loss_without_repetitions():
    matrix = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    targets = shared_targets(["a", "b", "c"])
    assert torch.allclose(F.cross_entropy(matrix, targets), rows(matrix))
    assert torch.allclose(shared_targets(["a", "a", "c"]).sum(dim=1), torch.ones(3))
