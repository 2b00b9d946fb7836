"""What one step of a sampler may look at, and what is shown of it afterwards.

Noise levels are alpha_bar, so latents keep variance near 1 all the way. `sigma` is the same level
seen as noise per unit of picture: the view in which most of the methods were found. Notebook 05.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from .schedule import Schedule, sigma_of


@dataclass(frozen=True, eq=False)
class Frame:
    """One step of a run, for pictures and sliders."""

    step: int  # counted from 1
    t: float  # the timestep at which the noise was predicted; whole, but for Karras spacing
    x: Tensor  # the latents after the step, less noisy
    x0: Tensor  # the model's guess, before the step, of the clean latents
    eps: Tensor  # the predicted noise


@dataclass(frozen=True, eq=False)
class Moment:
    """All that a step may look at: latents x at timestep t, on the way to t_prev.

    a_t, a_prev: alpha_bar now and after the step. The last step has t_prev None and a_prev 1.
    past: up to three earlier moments, newest last, for methods that learn from them.
    predict(x, t): asks the model again, for methods that look ahead. noise(): fresh, like x.
    """

    x: Tensor
    eps: Tensor
    t: float
    t_prev: float | None
    a_t: float
    a_prev: float
    schedule: Schedule
    predict: Callable[[Tensor, float], Tensor]
    noise: Callable[[], Tensor]
    past: tuple["Moment", ...] = ()

    @cached_property
    def x0(self) -> Tensor:
        """The clean latents that x and eps point to. Ho et al. 2020, eq. 4 solved for x_0."""
        return (self.x - (1 - self.a_t) ** 0.5 * self.eps) / self.a_t**0.5

    @property
    def sigma(self) -> float:
        """a_t as noise per unit of picture."""
        return sigma_of(self.a_t)

    @property
    def sigma_prev(self) -> float:
        """a_prev as noise per unit of picture; 0 at the end of the last step."""
        return sigma_of(self.a_prev)


Step = Callable[[Moment], Tensor]


def alpha_bar_of(sigma: float) -> float:
    """Noise per unit of picture -> alpha_bar: `sigma_of` the other way round."""
    return 1 / (1 + sigma**2)
