"""The checkers of page 11 on right answers and on typical wrong ones."""

import copy

import pytest
import torch

from boringfusion_lite import checks


def untouched(*args):
    return None


# ---- one training step ---------------------------------------------------------------------------


def noisy(x0, noise, a):
    a = a.reshape(-1, 1, 1, 1)
    return a**0.5 * x0 + (1 - a) ** 0.5 * noise


def right_loss(unet, x0, context, noise, t, alpha_bar):
    return (unet(noisy(x0, noise, alpha_bar[t]), t, context) - noise).square().mean()


def names_the_picture(unet, x0, context, noise, t, alpha_bar):
    return (unet(noisy(x0, noise, alpha_bar[t]), t, context) - x0).square().mean()


def one_level(unet, x0, context, noise, t, alpha_bar):
    return right_loss(unet, x0, context, noise, t[:1].expand(len(t)), alpha_bar)


def no_root(unet, x0, context, noise, t, alpha_bar):
    a = alpha_bar[t].reshape(-1, 1, 1, 1)
    return (unet(a * x0 + (1 - a) * noise, t, context) - noise).square().mean()


def a_sum(unet, x0, context, noise, t, alpha_bar):
    return right_loss(unet, x0, context, noise, t, alpha_bar) * x0.numel()


def cut_off(*args):
    return right_loss(*args).detach()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (names_the_picture, "not the clean latents"),
        (one_level, "first one's timestep"),
        (no_root, "get its root"),
        (a_sum, "take the mean"),
        (cut_off, "no gradient"),
    ],
)
def test_wrong_losses_are_explained(wrong, words):
    verdict = checks.check_training_loss(wrong)
    assert verdict.passed is False and words in verdict.message


# ---- captions left out ---------------------------------------------------------------------------


def right_leave_out(captions, share, g):
    out = torch.rand(len(captions), generator=g) < share
    return ["" if gone else caption for gone, caption in zip(out, captions)]


def all_or_none(captions, share, g):
    return [""] * len(captions) if torch.rand((), generator=g) < share else captions


def the_other_way(captions, share, g):
    return right_leave_out(captions, 1 - share, g)


def words_go(captions, share, g):
    return [" ".join(right_leave_out(caption.split(), share, g)) for caption in captions]


def nothing_at_all(captions, share, g):
    return [caption or None for caption in right_leave_out(captions, share, g)]


def own_numbers(captions, share, g):
    return right_leave_out(captions, share, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (all_or_none, "share one fate"),
        (the_other_way, "other way round"),
        (words_go, "kept whole"),
        (nothing_at_all, "empty text"),
        (own_numbers, "draw from g"),
    ],
)
def test_wrong_ways_to_leave_out_are_explained(wrong, words):
    verdict = checks.check_leave_out(wrong)
    assert verdict.passed is False and words in verdict.message


# ---- a state to go back to -----------------------------------------------------------------------


def right_snapshot(model, optimizer, average):
    kept = copy.deepcopy((model.state_dict(), optimizer.state_dict(), average.weights))

    def back():
        weights, memory, mean = copy.deepcopy(kept)
        model.load_state_dict(weights)
        optimizer.load_state_dict(memory)
        average.weights = mean

    return back


def living_tensors(model, optimizer, average):
    kept, memory, mean = model.state_dict(), optimizer.state_dict(), copy.deepcopy(average.weights)

    def back():
        model.load_state_dict(kept)
        optimizer.load_state_dict(memory)
        average.weights = copy.deepcopy(mean)

    return back


def no_optimizer(model, optimizer, average):
    kept = copy.deepcopy((model.state_dict(), average.weights))

    def back():
        weights, average.weights = copy.deepcopy(kept)
        model.load_state_dict(weights)

    return back


def no_average(model, optimizer, average):
    kept = copy.deepcopy((model.state_dict(), optimizer.state_dict()))

    def back():
        weights, memory = copy.deepcopy(kept)
        model.load_state_dict(weights)
        optimizer.load_state_dict(memory)

    return back


def once(model, optimizer, average):
    kept = copy.deepcopy((model.state_dict(), optimizer.state_dict(), average.weights))

    def back():
        model.load_state_dict(kept[0])
        optimizer.load_state_dict(kept[1])
        average.weights = kept[2]

    return back


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (living_tensors, "living tensors"),
        (no_optimizer, "optimiser remembers"),
        (no_average, "moving average"),
        (once, "after the second return"),
    ],
)
def test_wrong_snapshots_are_explained(wrong, words):
    verdict = checks.check_snapshot(wrong)
    assert verdict.passed is False and words in verdict.message


@pytest.mark.parametrize(
    ("check", "right"),
    [
        (checks.check_training_loss, right_loss),
        (checks.check_leave_out, right_leave_out),
        (checks.check_snapshot, right_snapshot),
    ],
)
def test_right_answers_pass_and_stubs_are_not_attempted(check, right):
    assert check(right).passed, check(right)
    assert check(untouched).passed is None
