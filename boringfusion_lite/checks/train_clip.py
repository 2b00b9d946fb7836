"""The exercises of page 09: the loss both ways, a temperature that learns, captions that repeat."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .verdict import Wrong, ask, checks, expect


def _random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def one_way(logits: Tensor) -> Tensor:
    """The mean surprise of the rows [B, B] at their diagonal."""
    return F.cross_entropy(logits, torch.arange(len(logits)))


@checks
def check_both_ways(yours) -> str:
    """`yours(images, texts, temperature)`: the contrastive loss of vectors of any length."""
    for seed, (batch, width, temperature) in enumerate(((4, 8, 0.07), (9, 5, 1.0), (2, 3, 0.5))):
        images, texts = 3 * _random(seed, batch, width), _random(seed + 10, batch, width)
        answer = ask(yours, images, texts, temperature)
        raw = images @ texts.T
        cosines = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
        logits = cosines / temperature
        wanted = (one_way(logits) + one_way(logits.T)) / 2
        both = (one_way(raw / temperature) + one_way(raw.T / temperature)) / 2
        times = cosines * temperature
        causes = {
            "Only the pictures choose; captions choose too, along the columns.": one_way(logits),
            "Only the captions choose; pictures choose too, along the rows.": one_way(logits.T),
            "The vectors have to be of length 1 before they are compared.": both,
            "Two directions: the mean, not the sum.": 2 * wanted,
            "Cosines are divided by the temperature.": (one_way(times) + one_way(times.T)) / 2,
            "A loss is positive: the sign is the wrong way round.": -wanted,
        }
        expect(answer, wanted, f"the loss of {batch} pairs", causes)
    return "pictures choose captions and captions choose pictures"


@checks
def check_scaled(yours) -> str:
    """`yours(cosines, log_scale)`: cosines times exp(log_scale), never more than 100 times."""
    for seed, start in enumerate((math.log(1 / 0.07), 0.0, 2.0, 6.0)):
        cosines = _random(seed, 3, 3).tanh()
        log_scale = torch.tensor(start, requires_grad=True)
        with torch.enable_grad():
            answer = ask(yours, cosines, log_scale)
            factor = math.exp(start)
            causes = {
                "Divided where it should be multiplied: the scale is 1 / temperature.": cosines
                / factor,
                "The factor has no bound: 100 at most.": cosines * factor,
                "The bound is 100 for the factor, not for its logarithm.": cosines
                * math.exp(min(start, 100)),
                "The parameter is the logarithm of the factor.": cosines * start,
            }
            shown = answer.detach() if isinstance(answer, Tensor) else answer
            expect(shown, cosines * min(factor, 100), f"cosines at exp({start:.3g})", causes)
            if factor < 100:
                _must_learn(answer, log_scale)
    return "the temperature learns, and stays within bounds"


def _must_learn(answer: Tensor, log_scale: Tensor) -> None:
    """Wrong where no gradient comes back to the parameter."""
    if answer.requires_grad:
        answer.square().sum().backward()
    if log_scale.grad is None or not log_scale.grad.abs() > 0:
        raise Wrong(
            "The numbers are right, but no gradient reaches log_scale, so it would never learn. "
            "`.item()`, `.detach()`, `.data` and `math.exp` cut it off."
        )


def shared_targets(captions: Sequence[str]) -> Tensor:
    """Row i shares one probability among all captions equal to caption i: [B, B]."""
    same = torch.tensor([[one == other for other in captions] for one in captions]).float()
    return same / same.sum(dim=1, keepdim=True)


@checks
def check_targets(yours) -> str:
    """`yours(captions)`: for each picture the probabilities of all captions, equal ones alike."""
    for captions in (
        ["a cat", "a car", "a cat"],
        ["a cat", "a car", "a fish", "a house"],
        ["a sun", "a sun", "a sun", "a boat", "a fish", "a boat"],
    ):
        answer, wanted = ask(yours, list(captions)), shared_targets(captions)
        answer = answer.float() if isinstance(answer, Tensor) else answer
        own, count = torch.eye(len(captions)), len(captions)
        causes = {
            "Equal captions are still counted as wrong: they are right for one another.": own,
            "Each row must add up to 1: equal captions share it.": (wanted > 0).float(),
            "Where captions repeat, their own right answers are gone.": own * (wanted == 1),
            "The whole matrix adds up to 1; each row should.": wanted / count,
        }
        expect(answer, wanted, f"the targets of {captions}", causes)
    return "equal captions share what is right, and single ones are as before"
