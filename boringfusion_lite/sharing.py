"""A network with some other weights, while all the rest is shared with the one it came from."""

import copy
from collections.abc import Mapping

from torch import Tensor, nn


def with_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """A network like this one, but that the named weights are others; the given one stays as it is.

    Both hold the very same tensors everywhere else, so it costs the memory of `weights` and no
    more. The new ones may have other shapes. AttributeError for a name that is not there.
    """
    shared = {id(tensor): tensor for tensor in [*network.parameters(), *network.buffers()]}
    twin = copy.deepcopy(network, shared)  # a tensor in this memo counts as copied already
    for name, weight in weights.items():
        layer, _, which = name.rpartition(".")
        grad = network.get_parameter(name).requires_grad
        setattr(twin.get_submodule(layer), which, nn.Parameter(weight, requires_grad=grad))
    return twin
