"""The exercises of page 08: count in a header, rename an attention layer, find what a file has.

None of them needs a model. The third is tried on the exact denoiser of a few random pictures, which
stands in for a trained UNet and answers with noise or v, healthy or damaged.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ..ideal import ideal_denoiser
from ..runtime import generator
from ..schedule import Schedule
from .verdict import Wrong, ask, checks, expect

# ---- one star: the header ------------------------------------------------------------------------

HEADERS = [
    {
        "__metadata__": {"format": "pt"},
        "model.diffusion_model.out.2.bias": {"dtype": "F16", "shape": [4]},
        "model.diffusion_model.out.2.weight": {"dtype": "F16", "shape": [4, 320, 3, 3]},
        "model_ema.decay": {"dtype": "F32", "shape": []},
        "first_stage_model.quant_conv.weight": {"dtype": "F32", "shape": [8, 8, 1, 1]},
        "loss.first_stage_model.logvar": {"dtype": "F32", "shape": [7]},
    },
    {
        "cond_stage_model.transformer.ln.bias": {"dtype": "BF16", "shape": [768]},
        "alphas_cumprod": {"dtype": "F64", "shape": [1000]},
    },
]
BYTES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}


@checks
def check_parameters(yours) -> str:
    """`yours(header, prefix)`: how many numbers the tensors hold whose names begin with prefix."""
    prefixes = ("model.diffusion_model.", "first_stage_model.", "model", "cond", "alphas", "x.", "")
    for header in map(_with_offsets, HEADERS):
        for prefix in prefixes:
            entries = {n: e for n, e in header.items() if n != "__metadata__"}
            begun = [e for n, e in entries.items() if n.startswith(prefix)]
            wanted = _numbers(begun)
            causes = {
                "These are bytes; a float32 has four of them. Multiply the shape instead.": sum(
                    e["data_offsets"][1] - e["data_offsets"][0] for e in begun
                ),
                "These are keys; each holds as many numbers as its shape has.": len(begun),
                "A shape's numbers are multiplied, not added: [4, 320] holds 1280.": sum(
                    sum(e["shape"]) for e in begun
                ),
                "A shape of [] is a single number: it holds 1, not 0.": _numbers(
                    [e for e in begun if e["shape"]]
                ),
                "The prefix must stand at the beginning; elsewhere in a name it does not count.": (
                    _numbers([e for n, e in entries.items() if prefix in n])
                ),
            }
            expect(ask(yours, header, prefix), wanted, f"the count for {prefix!r}", causes)
    return "exact for every prefix, with notes and single numbers in the header"


def _with_offsets(header: Mapping) -> dict:
    """The header as it stands in a file: every tensor with the place of its bytes."""
    full, at = {}, 0
    for name, entry in header.items():
        full[name] = dict(entry)
        if name != "__metadata__":
            size = _numbers([entry]) * BYTES[entry["dtype"]]
            full[name]["data_offsets"] = [at, at + size]
            at += size
    return full


def _numbers(entries) -> int:
    return sum(torch.Size(entry["shape"]).numel() for entry in entries)


# ---- two stars: the attention layer of a VAE -----------------------------------------------------

LAYERS = {
    "norm": "norm",
    "q": "attention.q",
    "k": "attention.k",
    "v": "attention.v",
    "proj_out": "attention.out",
}


@checks
def check_attention(yours) -> str:
    """`yours(tensors)`: the VAE's attention as the file has it -> under our names and shapes."""
    for seed, width in ((0, 6), (1, 4)):
        given = _file_attention(seed, width)
        copies = {name: tensor.clone() for name, tensor in given.items()}
        answer = ask(yours, given)
        if given.keys() != copies.keys() or any(not given[n].equal(t) for n, t in copies.items()):
            raise Wrong("The tensors given were changed; put what is new into a dict of its own.")
        if not isinstance(answer, Mapping):
            raise Wrong(f"A dict of tensors is asked for, not {type(answer).__name__}.")
        wanted = _our_attention(given)
        _compare_names(answer, wanted)
        for name, tensor in wanted.items():
            _compare_tensor(name, answer[name], tensor)
    return "ten names, one to one, and the same numbers in them"


def _file_attention(seed: int, width: int) -> dict[str, Tensor]:
    draw, tensors = generator(seed), {}
    for layer in LAYERS:
        shape = (width,) if layer == "norm" else (width, width, 1, 1)
        tensors[f"{layer}.weight"] = torch.randn(shape, generator=draw)
        tensors[f"{layer}.bias"] = torch.randn(width, generator=draw)
    return tensors


def _our_attention(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    named = {}
    for name, tensor in tensors.items():
        layer, kind = name.split(".")
        named[f"{LAYERS[layer]}.{kind}"] = tensor.flatten(1) if tensor.dim() == 4 else tensor
    return named


def _compare_names(answer: Mapping, wanted: Mapping) -> None:
    if missing := sorted(wanted.keys() - answer.keys()):
        odd = sorted(answer.keys() - wanted.keys())
        instead = f"; instead there is {odd[0]}" if odd else ""
        raise Wrong(f"{len(missing)} of 10 names are missing, such as {missing[0]}{instead}.")
    if odd := sorted(answer.keys() - wanted.keys()):
        raise Wrong(f"{odd[0]} is left over: strict loading would refuse it.")


def _compare_tensor(name: str, tensor, wanted: Tensor) -> None:
    if not isinstance(tensor, Tensor):
        raise Wrong(f"{name} is {type(tensor).__name__}, not a tensor.")
    if tensor.shape != wanted.shape:
        raise Wrong(
            f"{name} has the shape {list(tensor.shape)}, ours has {list(wanted.shape)}: a 1x1 "
            "convolution [C, D, 1, 1] is a matrix [C, D]."
        )
    if wanted.dim() == 2 and tensor.equal(wanted.T):
        raise Wrong(f"{name} is transposed: the two ones go, rows and columns stay.")
    if not tensor.equal(wanted):
        raise Wrong(f"{name} holds other numbers than the file's: was it mixed up with another?")


# ---- three stars: what is wrong with this file? --------------------------------------------------

FINDINGS = ("fine", "scale", "prediction", "weights")
HINTS = {  # (what it is, what was said) -> why, probably
    ("prediction", "weights"): (
        "The answers are good, only not what the config calls them: compare them with the noise "
        "and with v, whatever it says."
    ),
    ("prediction", "fine"): (
        "The config was believed, or asked at a small t, where noise and v are nearly the same. "
        "Ask at a large one."
    ),
    ("weights", "fine"): "These answers are far from the noise and from v: how far is too far?",
    ("weights", "prediction"): "Nearer to the other one does not mean near: look at the distance.",
    ("fine", "prediction"): "Noise and v are two targets; is yours for v right, signs included?",
    ("fine", "weights"): (
        "A healthy model's error is small where much noise is left, and not 0. Was v compared too?"
    ),
}


class Case(NamedTuple):
    """A model file to diagnose: what the answer should be, and what the reader is given."""

    truth: str
    answer: Callable[[Tensor, int], Tensor]
    schedule: Schedule
    latents: Tensor


@checks
def check_diagnosis(yours) -> str:
    """`yours(answer, schedule, latents, noise)`: "fine", "scale", "prediction" or "weights"."""
    for number, case in enumerate(_cases()):
        noise = torch.randn(case.latents.shape, generator=generator(100 + number))
        said = ask(yours, case.answer, case.schedule, case.latents, noise)
        if said not in FINDINGS:
            raise Wrong(f"{said!r} is none of {', '.join(FINDINGS)}.")
        if said != case.truth:
            raise Wrong(f"{said!r} was said of a model that is {case.truth!r}. {_why(case, said)}")
    return "healthy or not, noise or v: nine files, nine right answers"


def _why(case: Case, said: str) -> str:
    if case.truth == "scale":
        spread = case.latents.std().item()
        return f"Its latents have a standard deviation of {spread:.2g}; look at that first."
    return HINTS.get((case.truth, said), "Its latents are as they should be, near 1.")


def _cases() -> Iterator[Case]:
    claims = {kind: Schedule(prediction_type=kind) for kind in ("epsilon", "v_prediction")}
    for seed, (truth, kind, claimed, size) in enumerate(
        [
            ("fine", "epsilon", "epsilon", 1.0),
            ("fine", "v_prediction", "v_prediction", 1.0),
            ("prediction", "epsilon", "v_prediction", 1.0),
            ("prediction", "v_prediction", "epsilon", 1.0),
            ("scale", "epsilon", "epsilon", 1 / 0.18215),
            ("scale", "v_prediction", "v_prediction", 0.18215),
            ("weights", "epsilon", "epsilon", 1.0),
            ("weights", "v_prediction", "v_prediction", 1.0),
            ("fine", "epsilon", "epsilon", 1.0),
        ]
    ):
        latents = torch.randn((3, 4, 24, 24), generator=generator(seed))
        answer = _answering(latents, claims[kind], damaged=truth == "weights")
        yield Case(truth, answer, claims[claimed], size * latents)


def _answering(points: Tensor, schedule: Schedule, damaged: bool):
    """The exact denoiser of these latents as a UNet would answer, with noise or with v."""
    exact = ideal_denoiser(points, schedule)

    def answer(x: Tensor, t: int | Tensor) -> Tensor:
        eps = exact(x, torch.as_tensor(t))
        kind = schedule.prediction_type
        out = eps if kind == "epsilon" else schedule.v_from_eps(eps, x, t)
        return out.transpose(-1, -2) if damaged else out

    return answer
