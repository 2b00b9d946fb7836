"""Tensors from a file into the networks that they belong to, strictly.

Strict means: every weight that a network has must be there in the right shape, and nothing else
may be there. Otherwise there is one error that names the differences, and nothing was changed.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

LISTED = 10  # names of each kind in the error
Place = Mapping[str, torch.device | torch.dtype | None]  # arguments of Tensor.to


def fill(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    their_name: Callable[[str], str],
    what: Path,
    place: Place | None = None,
) -> None:
    """Put tensors into a model that was built on the meta device, strictly.

    their_name: a parameter name of the model -> its name in the file. place: the device and dtype
    to go to, one tensor after the other; where a tensor is already in its place, it stays mapped
    to the file instead of being copied. ValueError where the two do not fit.
    """
    empty = model.state_dict()
    names = {name: their_name(name) for name in empty}
    check_fit({names[name]: parameter for name, parameter in empty.items()}, tensors, what)
    state = {
        name: tensors[names[name]].reshape(parameter.shape).to(**place or {}).contiguous()
        for name, parameter in empty.items()
    }
    model.load_state_dict(state, assign=True)


def check_fit(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], what: Path) -> None:
    """ValueError that lists, by name and shape, what is missing, left over or of another shape."""
    problems = {
        "missing": [f"{name} {list(wanted[name].shape)}" for name in wanted if name not in found],
        "not expected": [f"{n} {list(found[n].shape)}" for n in sorted(found) if n not in wanted],
        "of another shape": [
            f"{name} {list(found[name].shape)} instead of {list(tensor.shape)}"
            for name, tensor in wanted.items()
            if name in found and not same_numbers(found[name].shape, tensor.shape)
        ],
    }
    if any(problems.values()):
        lines = [
            f"  {len(names)} {kind}: {', '.join(names[:LISTED])}{', ...' * (len(names) > LISTED)}"
            for kind, names in problems.items()
            if names
        ]
        raise ValueError(
            f"the weights in {what} do not fit the settings that came with them:\n"
            + "\n".join(lines)
            + "\nWeights and settings must come from one model; copy it again."
        )


def same_numbers(found: torch.Size, wanted: torch.Size) -> bool:
    """Is it one shape, or a linear layer [C, D] for a 1x1 convolution [C, D, 1, 1], or back?"""
    if min(len(found), len(wanted)) < 2:
        return found == wanted
    return (*found, 1, 1)[:4] == (*wanted, 1, 1)[:4]
