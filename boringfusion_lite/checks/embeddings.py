"""The exercises of page 02: scale one token, who gets the attention, a blend that stays long."""

import torch
from torch import Tensor

from .verdict import Wrong, ask, checks, expect


def _random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@checks
def check_scale_token(yours) -> str:
    """`yours(context, i, factor)` scales the vector of the prompt's token i, counted from 0."""
    for batch, slots, width, i, factor in (
        (1, 77, 8, 0, 2.0),
        (3, 20, 6, 4, -0.5),
        (1, 9, 5, 2, 0),
    ):
        context = _random(i, batch, slots, width)
        answer = ask(yours, context, i, factor)

        def scaled(*where, like=context, by=factor):
            copy = like.clone()
            copy[where] = copy[where] * by
            return copy

        causes = {
            "Slot 0 holds the start token, so token i of the prompt is in slot i + 1.": scaled(
                slice(None), i
            ),
            "Everything was scaled, and only one slot should be.": context * factor,
            "A dimension was scaled in all slots; the slots are the middle axis.": scaled(
                ..., i + 1
            ),
            "Only the first prompt of the batch was scaled.": scaled(0, i + 1),
        }
        expect(answer, scaled(slice(None), i + 1), f"token {i} times {factor:g}", causes)
    return "one vector is scaled, all the others and the argument are as they were"


@checks
def check_shares(yours) -> str:
    """`yours(maps, words)`: attention to (start, words, pads); the empty prompt's half left out."""
    for seed, (batch, heads, pixels, words) in enumerate(
        ((1, 4, 64, 5), (2, 3, 16, 1), (1, 2, 9, 12))
    ):
        maps = (2 * _random(seed, 2 * batch, heads, pixels, 77)).softmax(dim=-1)
        answer = ask(yours, maps, words)
        answer = answer if isinstance(answer, Tensor) else torch.tensor([float(x) for x in answer])

        def shares(of: Tensor, words=words) -> Tensor:
            mean = of.flatten(0, -2).mean(dim=0)
            return torch.stack([mean[0], mean[1 : words + 1].sum(), mean[words + 1 :].sum()])

        mine, peak = maps[batch:], maps.amax(dim=-1, keepdim=True)
        stretched = shares((maps / peak)[batch:])
        each = torch.stack([mine[..., 0].mean(), mine[..., 1 : words + 1].mean()])
        causes = {
            "The empty prompt's half of the batch is mixed in; it comes first.": shares(maps),
            "This is the empty prompt's half; yours is the second.": shares(maps[:batch]),
            "The maps were divided by their maxima first, and are no shares any more.": stretched,
            "The start token is counted among the words.": shares(mine.roll(-1, dims=-1)),
        }
        if len(answer) == 3 and words > 1 and torch.allclose(answer.float()[:2], each, atol=1e-5):
            raise Wrong("Shares of several slots add up; you have taken their mean.")
        expect(answer, shares(mine), "shares of start, words and pads", causes)
    return "three shares that add up to 1, of your prompt alone"


@checks
def check_blend(yours) -> str:
    """`yours(one, other, share)`: a line of vectors whose lengths lie on a line as well."""
    for seed, share in enumerate((0.0, 1.0, 0.5, 0.3)):
        shape = (1 + seed % 2, 7 + seed, 12)
        one, other = 3 * _random(seed, *shape), _random(seed + 10, *shape)
        answer, plain = ask(yours, one, other, share), torch.lerp(one, other, share)

        def long(dims, one=one, other=other, plain=plain, share=share) -> Tensor:
            norms = (x.norm(dim=dims, keepdim=True) for x in (one, other, plain))
            first, last, now = norms
            return plain * torch.lerp(first, last, share) / now

        causes = {
            "A plain average is shorter than its ends: give each row its length back.": plain,
            "One length for the whole tensor; every row has its own.": long((1, 2)),
            "The shares are exchanged: 0 is the first prompt.": torch.lerp(one, other, 1 - share),
        }
        expect(answer, long(-1), f"the blend at share {share:g}", causes, tolerance=1e-4)
    return "both ends are exact, and no row loses length on the way"
