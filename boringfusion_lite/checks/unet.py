"""The exercises of page 04: the clean-guess, a skip cut by a hook, errors by timestep."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..anatomy import skip_gain, unet_rows
from ..runtime import generator
from ..schedule import Schedule
from ..unet import UNet, UNetConfig
from .verdict import Wrong, ask, checks, expect

SMALL = UNetConfig(
    sample_size=8,
    channels=(16, 24, 40),
    attention=(True, True, False),
    heads=(2, 2, 2),
    blocks_per_level=1,
    context_width=12,
    groups=8,
)


@checks
def check_clean_guess(yours: Callable) -> str:
    """yours(x, eps, alpha_bar) -> the clean latents that x and the noise-guess point to."""
    drawing = generator(41)
    for t in (700, 30, 999):
        a = Schedule().alphas_cumprod[t]
        x0, eps = torch.randn((2, 3, 4, 5, 6), generator=drawing)
        x = a.sqrt() * x0 + (1 - a).sqrt() * eps
        left = x - (1 - a).sqrt() * eps
        causes = {
            "The noise is taken off, but what is left is still shrunk: divide by the root of "
            "alpha_bar.": left,
            "The two weights are swapped: the noise carries the root of 1 - alpha_bar.": (
                (x - a.sqrt() * eps) / (1 - a).sqrt()
            ),
            "The weights are the roots of alpha_bar and 1 - alpha_bar, not those numbers "
            "themselves.": (x - (1 - a) * eps) / a,
            "Only the noise was divided by the root of alpha_bar: put the difference in "
            "brackets.": x - (1 - a).sqrt() * eps / a.sqrt(),
            "The noise has to be taken off, not put on top.": (
                (x + (1 - a).sqrt() * eps) / a.sqrt()
            ),
        }
        expect(ask(yours, x, eps, a), x0, f"the clean-guess at t = {t}", causes, 1e-3)
    return "with the true noise it finds the clean latents at every noise level"


@checks
def check_cut_skip(yours: Callable) -> str:
    """yours(unet, index, x, t, context) -> the noise-guess with that skip cut, no hook left."""
    unet, drawing = _small_unet(), generator(42)
    x = torch.randn((2, 4, 8, 8), generator=drawing)
    context = torch.randn((2, 77, SMALL.context_width), generator=drawing)
    last, whole = len(unet.down) - 1, unet(x, 400, context)
    for index in (1, 0, last):
        with skip_gain(unet, index, 0.0):
            wanted = unet(x, 400, context)
        answer = ask(yours, unet, index, x, 400, context)
        if any(m._forward_hooks or m._forward_pre_hooks for m in unet.modules()):
            raise Wrong(
                "A hook is still on the UNet, so every later call is cut as well. Keep what "
                "register_forward_pre_hook returns, and call its .remove() after the UNet."
            )
        if not torch.equal(unet(x, 400, context), whole):
            raise Wrong("The UNet is not what it was before: leave its weights alone, use a hook.")
        expect(
            answer, wanted, f"the noise-guess without skip {index}", _cuts(unet, index, x, context)
        )
    return "the skip is cut, and the UNet is afterwards what it was, to the bit"


def _cuts(unet: UNet, index: int, x: Tensor, context: Tensor) -> dict[str, Tensor]:
    """What comes out where the wrong thing is cut."""
    last = len(unet.down) - 1
    with skip_gain(unet, last - index, 0.0):
        wrong_end = unet(x, 400, context)
    row, receiver = unet.down[index], unet_rows(unet)[f"up {last - index}"]
    hook = row.register_forward_hook(lambda module, args, output: 0 * output)
    both = unet(x, 400, context)
    hook.remove()
    width = _width(unet, index)

    def zero(part: slice):
        def cut(module, args):
            mixed = args[0].clone()
            mixed[:, part] = 0
            return mixed, *args[1:]

        return cut

    outcomes = {}
    for name, part in {"trunk": slice(0, -width), "first": slice(0, width)}.items():
        hook = receiver.register_forward_pre_hook(zero(part))
        outcomes[name] = unet(x, 400, context)
        hook.remove()
    return {
        "No skip was cut: this is the output of the whole UNet.": unet(x, 400, context),
        "That is the skip from the other end of the list: the last row down is the first to be "
        "received, so `down[i]` goes to `up[len(down) - 1 - i]`.": wrong_end,
        "The row's whole output was zeroed, so the next row down got zeros too. Cut where the skip "
        "is received, in the row up.": both,
        "The trunk was zeroed and the skip kept: the skip's channels come last.": outcomes["trunk"],
        "The first channels were zeroed, but those belong to the trunk; the skip's come "
        "last.": outcomes["first"],
    }


def _width(unet: UNet, index: int) -> int:
    """Channels of a skip."""
    row = unet.down[index]
    if row.res is not None:
        return row.res.conv2.out_channels
    return getattr(row.resample, "conv", row.resample).out_channels


def _small_unet() -> UNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet(SMALL).eval()
    drawing = generator(43)
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=drawing)
    return unet.requires_grad_(False)


@checks
def check_error_by_t(yours: Callable) -> str:
    """yours(predict, schedule, latents, context, timesteps, noise) -> [T, 2]: mean, half-width."""
    schedule, drawing = Schedule(), generator(44)
    timesteps = [50, 400, 950]
    for count in (6, 5):
        latents = torch.randn((count, 4, 6, 6), generator=drawing)
        noise = torch.randn((len(timesteps), count, 4, 6, 6), generator=drawing)
        context = torch.randn((count, 77, 8), generator=drawing)
        for name, predict in _predictors(schedule).items():
            given = predict, schedule, latents, context, timesteps, noise
            squares = _squares(*given)
            causes = {
                why: _told(values) for why, values in _mistakes(squares, given).items()
            } | _wrong_intervals(squares)
            answer = ask(yours, *given)
            expect(answer, _told(squares), f"the error of {name}", causes, 1e-3)
    return "means and intervals are right for three predictors whose errors are known"


def _predictors(schedule: Schedule) -> dict[str, Callable]:
    """Predictions that need the right t and the right caption to come out right."""

    def root(t: Tensor) -> Tensor:
        return (1 - schedule.alphas_cumprod[torch.as_tensor(t).cpu()]).sqrt().reshape(-1, 1, 1, 1)

    return {
        "predicting zero": lambda x, t, context: torch.zeros_like(x),
        "scaling the input": lambda x, t, context: root(t) * x,
        "a guess that reads its caption": lambda x, t, context: (
            root(t) * x + context[:, 0, :4, None, None]
        ),
    }


def _squares(predict, schedule, latents, context, timesteps, noise) -> Tensor:
    """Squared errors [T, B, 4, h, w]."""
    found = []
    for t, one in zip(timesteps, noise):
        x = schedule.add_noise(latents, one, t)
        found.append((predict(x, torch.tensor(t), context) - one).square())
    return torch.stack(found)


def _told(squares: Tensor) -> Tensor:
    """[T, B, ...] -> [T, 2]: the mean over pictures and half of its 95 % interval."""
    each = squares.flatten(2).mean(dim=2)
    return torch.stack([each.mean(dim=1), 1.96 * each.std(dim=1) / each.shape[1] ** 0.5], dim=1)


def _mistakes(squares: Tensor, given: tuple) -> dict[str, Tensor]:
    predict, schedule, latents, context, timesteps, noise = given
    return {
        "The rows are in the wrong order: the first one belongs to the first "
        "timestep.": squares.flip(0),
        "A picture got the caption of another one.": _squares(
            predict, schedule, latents, context.roll(1, 0), timesteps, noise
        ),
        "The captions were left out (zeros came instead).": _squares(
            predict, schedule, latents, 0 * context, timesteps, noise
        ),
        "Every picture must be noised with noise[i] of its timestep, and that is what the guess "
        "is compared with.": _squares(
            predict, schedule, latents, context, timesteps, noise[:1].expand_as(noise)
        ),
    }


def _wrong_intervals(squares: Tensor) -> dict[str, Tensor]:
    each = squares.flatten(2).mean(dim=2)
    mean, std, root = each.mean(dim=1), each.std(dim=1), each.shape[1] ** 0.5
    singles = squares.flatten(1)
    halves = {
        "This is the spread of the pictures; the mean of B of them is surer by the root of B.": 1.96
        * std,
        "The factor 1.96 of a 95 % interval is missing.": std / root,
        "The spread is that of the B pictures: divide by B - 1, as `.std()` does.": (
            1.96 * each.std(dim=1, correction=0) / root
        ),
        "The interval is too sure: the samples are the B pictures, not their single numbers.": 1.96
        * singles.std(dim=1)
        / singles.shape[1] ** 0.5,
        "This is the whole width; half of it is wanted.": 2 * 1.96 * std / root,
    }
    alike = _told(squares).mean(dim=0, keepdim=True).expand(len(mean), 2)
    return {why: torch.stack([mean, half], dim=1) for why, half in halves.items()} | {
        "All rows are alike: do not average over t, every timestep has an error of its own.": alike
    }
