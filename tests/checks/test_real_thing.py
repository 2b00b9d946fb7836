"""The checkers of page 08: the right solution, the untouched stub, and every mistake they know."""

import math

import pytest
import torch

from boringfusion_lite import checks


def named(verdict, word):
    return verdict.passed is False and word in verdict.message


@pytest.mark.parametrize(
    "check", [checks.check_parameters, checks.check_attention, checks.check_diagnosis]
)
@pytest.mark.parametrize("answer", [None, ...])
def test_an_untouched_stub_is_not_attempted(check, answer):
    assert check(lambda *args: answer).passed is None


# ---- one star ------------------------------------------------------------------------------------


def counting(numbers, chosen=str.startswith):
    """A solution with one line of it exchanged."""

    def parameters(header, prefix):
        return sum(
            numbers(entry)
            for name, entry in header.items()
            if name != "__metadata__" and chosen(name, prefix)
        )

    return parameters


def product(entry):
    return math.prod(entry["shape"])


def test_parameters_right():
    assert checks.check_parameters(counting(product)).passed


@pytest.mark.parametrize(
    "mine, word",
    [
        (counting(lambda e: e["data_offsets"][1] - e["data_offsets"][0]), "bytes"),
        (counting(lambda e: 1), "keys"),
        (counting(lambda e: sum(e["shape"])), "multiplied"),
        (counting(lambda e: math.prod(e["shape"]) if e["shape"] else 0), "[]"),
        (counting(product, lambda name, prefix: prefix in name), "beginning"),
        (counting(lambda e: 3 * product(e)), "expected"),
        (lambda header, prefix: sum(math.prod(e["shape"]) for e in header.values()), "KeyError"),
    ],
)
def test_parameters_wrong(mine, word):
    assert named(checks.check_parameters(mine), word)


# ---- two stars -----------------------------------------------------------------------------------


def attention(tensors):
    named = {}
    for name, tensor in tensors.items():
        ours = name if name.startswith("norm") else f"attention.{name}"
        ours = ours.replace("proj_out", "out")
        named[ours] = tensor[:, :, 0, 0] if tensor.dim() == 4 else tensor
    return named


def test_attention_right():
    assert checks.check_attention(attention).passed


def with_change(change):
    return lambda tensors: change(attention(tensors), tensors)


def pop_from_what_is_given(ours, tensors):
    tensors.pop("q.bias")
    return ours


def double_in_place(ours, tensors):
    tensors["k.bias"].mul_(2)
    return ours


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda ours, given: {n: t for n, t in ours.items() if "norm" not in n}, "2 of 10"),
        (lambda ours, given: {n.replace("out", "proj_out"): t for n, t in ours.items()}, "instead"),
        (lambda ours, given: ours | {"q.weight": given["q.weight"]}, "left over"),
        (lambda ours, given: ours | {"attention.q.weight": given["q.weight"]}, "1x1"),
        (lambda ours, given: ours | {"attention.v.weight": ours["attention.v.weight"].T}, "transp"),
        (lambda ours, given: ours | {"attention.k.bias": ours["attention.q.bias"]}, "mixed up"),
        (lambda ours, given: ours | {"attention.k.bias": 0}, "not a tensor"),
        (lambda ours, given: [*ours], "dict"),
        (pop_from_what_is_given, "changed"),
        (double_in_place, "changed"),
    ],
)
def test_attention_wrong(change, word):
    assert named(checks.check_attention(with_change(change)), word)


# ---- three stars ---------------------------------------------------------------------------------


def diagnosis(answer, schedule, latents, noise, t=900, limit=0.5, sign=-1):
    if not 0.5 < latents.std() < 2:
        return "scale"
    x, a = schedule.add_noise(latents, noise, t), schedule.alphas_cumprod[t]
    given = answer(x, t)
    v = a.sqrt() * noise + sign * (1 - a).sqrt() * latents
    far = {"epsilon": (given - noise).square().mean(), "v_prediction": (given - v).square().mean()}
    best = min(far, key=far.get)
    if far[best] > limit:
        return "weights"
    return "fine" if best == schedule.prediction_type else "prediction"


@pytest.mark.parametrize("t", [600, 900, 999])
def test_diagnosis_right(t):
    assert checks.check_diagnosis(lambda *given: diagnosis(*given, t=t)).passed


def believes_the_config(answer, schedule, latents, noise):
    if not 0.5 < latents.std() < 2:
        return "scale"
    eps = schedule.to_eps(answer(schedule.add_noise(latents, noise, 200), 200), latents, 200)
    return "weights" if (eps - noise).square().mean() > 0.9 else "fine"


def blames_the_weights(answer, schedule, latents, noise):
    said = diagnosis(answer, schedule, latents, noise)
    return "weights" if said == "prediction" else said


def no_look_at_the_scale(answer, schedule, latents, noise):
    return diagnosis(answer, schedule, latents / latents.std(), noise)


@pytest.mark.parametrize(
    "mine, word",
    [
        (lambda *given: "broken", "none of fine"),
        (lambda *given: "fine", "believed"),
        (lambda *given: "scale", "near 1"),
        (blames_the_weights, "whatever it says"),
        (no_look_at_the_scale, "standard deviation of"),
        (lambda *given: diagnosis(*given, limit=100), "far"),
        (lambda *given: diagnosis(*given, limit=-1), "not 0"),
        (lambda *given: diagnosis(*given, sign=1), "not 0"),
        (lambda answer, *given: answer(given[1], torch.zeros(9)), "stops with"),
    ],
)
def test_diagnosis_wrong(mine, word):
    assert named(checks.check_diagnosis(mine), word)


def test_a_healthy_model_alone_proves_little():
    assert checks.check_diagnosis(believes_the_config).passed is False
