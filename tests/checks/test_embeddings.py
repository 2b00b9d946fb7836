"""The checkers of page 02 on right answers and on typical wrong ones."""

import torch

from boringfusion_lite import checks, prompts


def nothing(*args):
    """An exercise as the page leaves it."""


def test_scale_token():
    def right(context, i, factor):
        return prompts.scale(context, factor, slots=[i + 1])

    def in_place(context, i, factor):
        context[:, i + 1] *= factor
        return context

    assert checks.check_scale_token(right).passed
    assert checks.check_scale_token(nothing).passed is None
    assert "in place" in checks.check_scale_token(in_place).message
    wrong = {
        "start token": lambda c, i, f: prompts.scale(c, f, slots=[i]),
        "Everything": lambda c, i, f: c * f,
    }
    for cause, answer in wrong.items():
        verdict = checks.check_scale_token(answer)
        assert verdict.passed is False and cause in verdict.message


def split(mean, words):
    return mean[0], mean[1 : words + 1].sum(), mean[words + 1 :].sum()


def test_shares():
    def of(maps, words):
        return split(maps.mean(dim=(0, 1, 2)), words)

    def mine(maps):
        return maps.chunk(2)[1]

    assert checks.check_shares(lambda maps, words: of(mine(maps), words)).passed
    assert checks.check_shares(lambda maps, words: torch.stack(of(mine(maps), words))).passed
    assert checks.check_shares(nothing).passed is None
    wrong = {
        "mixed in": of,
        "yours is the second": lambda maps, words: of(maps.chunk(2)[0], words),
        "maxima": lambda maps, words: of(mine(maps / maps.amax(-1, keepdim=True)), words),
        "taken their mean": lambda maps, words: (
            mine(maps)[..., 0].mean(),
            mine(maps)[..., 1 : words + 1].mean(),
            mine(maps)[..., words + 1 :].mean(),
        ),
    }
    for cause, answer in wrong.items():
        verdict = checks.check_shares(answer)
        assert verdict.passed is False and cause in verdict.message, verdict


def test_blend():
    def right(one, other, share, dims=-1):
        mixed = torch.lerp(one, other, share)
        ends = (x.norm(dim=dims, keepdim=True) for x in (one, other))
        return mixed * torch.lerp(*ends, share) / mixed.norm(dim=dims, keepdim=True)

    assert checks.check_blend(right).passed
    assert checks.check_blend(nothing).passed is None
    wrong = {
        "shorter": torch.lerp,
        "whole tensor": lambda one, other, share: right(one, other, share, (1, 2)),
        "exchanged": lambda one, other, share: torch.lerp(other, one, share),
    }
    for cause, answer in wrong.items():
        verdict = checks.check_blend(answer)
        assert verdict.passed is False and cause in verdict.message, verdict
