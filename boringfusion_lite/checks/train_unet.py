"""The exercises of page 11: a training step, captions left out, a state to go back to."""

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from ..runtime import generator
from ..schedule import Schedule
from ..training import MovingAverage
from .verdict import Wrong, ask, checks, expect


class Little(nn.Module):
    """Stands for a UNet: a linear layer that also sees the timestep and the text."""

    def __init__(self, seed: int = 0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn((4, 4), generator=generator(seed)) / 2)

    def forward(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        t = torch.as_tensor(t).float().expand(len(x)) / 1000
        hints = (t + context.mean(dim=(1, 2)))[:, None, None, None]
        return torch.einsum("bchw,cd->bdhw", x, self.weight) + hints


@checks
def check_training_loss(yours: Callable) -> str:
    """yours(unet, x0, context, noise, t, alpha_bar) -> mean squared error of the noise-guess."""
    for seed, shape in ((51, (4, 4, 8, 8)), (52, (3, 4, 6, 10))):
        draw, unet = generator(seed), Little(seed)
        x0, noise = torch.randn((2, *shape), generator=draw)
        context = torch.randn((shape[0], 7, 5), generator=draw)
        t = torch.tensor([999, 40, 500, 250][: shape[0]])
        arguments = (unet, x0, context, noise, t, Schedule().alphas_cumprod)
        with torch.enable_grad():
            answer, wanted = ask(yours, *arguments), _loss(*arguments)
        if not isinstance(answer, Tensor) or answer.dim():
            raise Wrong("a loss is one number, a tensor of no dimensions, to call .backward() on.")
        expect(answer, wanted, "the loss", _losses(*arguments), tolerance=1e-4)
        if answer.grad_fn is None:
            raise Wrong("the number is right, but no gradient leads back from it to the weights.")
        (mine,) = torch.autograd.grad(answer, unet.weight)
        (true,) = torch.autograd.grad(wanted, unet.weight)
        expect(mine, true, "the gradient", tolerance=1e-4)
    return "the loss and its gradient, with a noise level for each picture"


def _noisy(x0: Tensor, noise: Tensor, a: Tensor) -> Tensor:
    a = a.reshape(-1, 1, 1, 1)
    return a.sqrt() * x0 + (1 - a).sqrt() * noise


def _loss(unet, x0, context, noise, t, alpha_bar) -> Tensor:
    return (unet(_noisy(x0, noise, alpha_bar[t]), t, context) - noise).square().mean()


def _losses(unet, x0, context, noise, t, alpha_bar) -> dict[str, Tensor]:
    """What typical mistakes lead to."""
    a, x = alpha_bar[t].reshape(-1, 1, 1, 1), _noisy(x0, noise, alpha_bar[t])
    guess, first = unet(x, t, context), t[:1].expand(len(t))
    one = unet(_noisy(x0, noise, alpha_bar[first]), first, context)
    rootless = unet(a * x0 + (1 - a) * noise, t, context)
    late, plain = unet(x, t * 0 + t[0], context), unet(x0, t, context)
    return {
        "The target is the noise that was added, not the clean latents.": (
            (guess - x0).square().mean()
        ),
        "All pictures got the first one's timestep: each has its own, so give alpha_bar[t] the "
        "shape [B, 1, 1, 1].": (one - noise).square().mean(),
        "The noise levels are right, but the UNet was told the first picture's timestep for all.": (
            late - noise
        )
        .square()
        .mean(),
        "alpha_bar multiplies variances; x0 and the noise get its root.": (
            (rootless - noise).square().mean()
        ),
        "The UNet saw the clean latents: noise them first.": (plain - noise).square().mean(),
        "These are absolute errors; the loss is made of squares.": (guess - noise).abs().mean(),
        "This is the sum of the squares; take the mean.": (guess - noise).square().sum(),
    }


@checks
def check_leave_out(yours: Callable) -> str:
    """yours(captions, share, g) -> the captions, a share of them empty, drawn from g."""
    captions = [f"a red house, number {i}" for i in range(2000)]
    for share, seed in ((0.1, 53), (0.3, 54)):
        answer = ask(yours, list(captions), share, generator(seed))
        if not isinstance(answer, list) or len(answer) != len(captions):
            raise Wrong("as many captions come out as went in, as a list.")
        if not all(isinstance(caption, str) for caption in answer):
            raise Wrong(
                'a caption that is left out is the empty text "", so that the text tower reads it '
                "as it reads an empty prompt; not None, not zeros."
            )
        other = [new for old, new in zip(captions, answer) if new not in (old, "")]
        if other:
            raise Wrong(
                f"a caption is kept whole or left out whole; this one is neither: {other[0]!r}."
            )
        empty = answer.count("") / len(answer)
        if empty in (0, 1):
            raise Wrong("all captions share one fate: draw a number for each of them.")
        if abs(empty - (1 - share)) < 0.03:
            raise Wrong(
                f"{empty:.0%} are left out, and {share:.0%} kept: it is the other way round."
            )
        if abs(empty - share) > 0.03:
            raise Wrong(f"{empty:.1%} of 2,000 captions are left out; expected about {share:.0%}.")
        if ask(yours, list(captions), share, generator(seed)) != answer:
            raise Wrong("the same generator state gives other captions: draw from g alone.")
        if ask(yours, list(captions), share, generator(seed + 9)) == answer:
            raise Wrong("another generator leaves out the same captions: draw from g.")
    return "whole captions, each by its own draw"


@checks
def check_snapshot(yours: Callable) -> str:
    """yours(model, optimizer, average) -> a function that puts all three back, at any time."""
    run = _run()
    _train(run, 0, 4)
    before = [weight.clone() for weight in run.average.weights.values()]
    with torch.enable_grad():
        back = ask(yours, run.model, run.optimizer, run.average)
    if not callable(back):
        raise Wrong("return a function: calling it puts everything back.")
    expected = _train(run, 4, 9)
    for attempt in ("the first", "the second"):
        back()
        now = list(run.average.weights.values())
        if not all(torch.equal(one, other) for one, other in zip(now, before)):
            raise Wrong(
                f"after {attempt} return the moving average is not what it was: keep a copy of "
                "average.weights too, and hand out a copy of the copy."
            )
        losses = _train(run, 4, 9)
        if losses == expected:
            continue
        if losses[0] != expected[0]:
            raise Wrong(
                f"after {attempt} return the model has other weights than before. "
                "state_dict() hands out the living tensors, which training goes on changing: "
                "keep a deep copy, and give back a copy of it."
            )
        raise Wrong(
            f"after {attempt} return the first loss is right, the later ones are not: the "
            "optimiser remembers past gradients, so its state has to come back as well."
        )
    return "five losses, three times the same to the last digit"


def _run() -> SimpleNamespace:
    model = Little(5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    return SimpleNamespace(
        model=model, optimizer=optimizer, average=MovingAverage(model, decay=0.9)
    )


def _train(run: SimpleNamespace, first: int, last: int) -> list[float]:
    """Losses of the steps first to last - 1; all that is random follows from the step."""
    losses, alpha_bar = [], Schedule().alphas_cumprod
    for step in range(first, last):
        draw = generator(step)
        x0, noise = torch.randn((2, 4, 4, 4, 4), generator=draw)
        context = torch.randn((4, 3, 2), generator=draw)
        t = torch.randint(1000, (4,), generator=draw)
        with torch.enable_grad():
            loss = _loss(run.model, x0, context, noise, t, alpha_bar)
            run.optimizer.zero_grad()
            loss.backward()
        run.optimizer.step()
        run.average.update(run.model, step)
        losses.append(loss.item())
    return losses
