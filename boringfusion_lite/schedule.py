"""How much noise there is at every timestep, and which timesteps a sampler visits.

One table says it all: `alphas_cumprod`, or alpha_bar, the share of the variance that is still
picture, from 0.999 at t = 0 to 0.005 at t = 999. Sigma and SNR are views of it, and it turns v,
which some models predict, into noise. `betas.py` says how the table is chosen. Notebook 03 builds
both.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from .betas import BETAS, rescale_to_zero_snr

SPACINGS = ("leading", "trailing", "linspace")
PREDICTIONS = ("epsilon", "v_prediction")  # the noise (SD 1.x, SD 2 base), or v (SD 2.x at 768 px)


def sigma_of(alpha_bar):
    """alpha_bar (float or tensor) -> noise per unit of picture, as in Karras et al. 2022."""
    return ((1 - alpha_bar) / alpha_bar) ** 0.5


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A model's noise levels, in the words of `scheduler_config.json`; by default SD 1.x."""

    num_train_timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    timestep_spacing: str = "leading"
    steps_offset: int = 1
    set_alpha_to_one: bool = False  # is alpha_bar 1 "before t = 0", or still that of t = 0?
    prediction_type: str = "epsilon"  # what the UNet answers with: a name out of PREDICTIONS
    rescale_betas_zero_snr: bool = False  # push alpha_bar down until it ends at exactly 0?

    def __post_init__(self):
        _check_choice("beta_schedule", self.beta_schedule, BETAS)
        _check_choice("timestep_spacing", self.timestep_spacing, SPACINGS)
        _check_choice("prediction_type", self.prediction_type, PREDICTIONS)
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise ValueError(f"{self}: choose 0 < beta_start <= beta_end < 1.")

    @classmethod
    def linear(cls, beta_start: float = 1e-4, beta_end: float = 0.02, **fields) -> "Schedule":
        """The schedule of the first DDPM paper, Ho et al. 2020, section 4."""
        return cls(beta_start=beta_start, beta_end=beta_end, beta_schedule="linear", **fields)

    @classmethod
    def scaled_linear(cls, **fields) -> "Schedule":
        """The schedule of Stable Diffusion 1.x, which the defaults are."""
        return cls(**fields)

    @classmethod
    def cosine(cls, **fields) -> "Schedule":
        """The schedule of Nichol & Dhariwal 2021, which has no beta_start and beta_end."""
        return cls(beta_schedule="squaredcos_cap_v2", **fields)

    @classmethod
    def sigmoid(cls, beta_start: float = 1e-4, beta_end: float = 0.02, **fields) -> "Schedule":
        """Betas along an S, in the range of Ho et al. 2020 unless given."""
        return cls(beta_start=beta_start, beta_end=beta_end, beta_schedule="sigmoid", **fields)

    @classmethod
    def zero_terminal_snr(cls, **fields) -> "Schedule":
        """SD's schedule bent to end in pure noise, Lin et al. 2023; `timesteps` tells the price."""
        return cls(rescale_betas_zero_snr=True, **fields)

    @classmethod
    def from_config(cls, config: dict) -> "Schedule":
        """The content of a `scheduler_config.json` -> Schedule.

        Betas must be stated; any other missing key means Stable Diffusion 1.x. Keys about a
        sampler are passed over. ValueError where the noise levels are not the ones betas give.
        """
        if missing := {"beta_start", "beta_end", "beta_schedule"} - config.keys():
            raise ValueError(f"The scheduler config lacks {sorted(missing)}. Is it the right file?")
        if config.get("trained_betas"):
            raise ValueError("trained_betas in the scheduler config: such noise is not supported.")
        return cls(**{k: config[k] for k in cls.__dataclass_fields__ if k in config})

    def to_config(self) -> dict:
        """Schedule -> the content of a `scheduler_config.json` that diffusers opens as DDIM.

        Its DDIM knows no sigmoid, so that one goes by the name of its DDPM.
        """
        name = "DDPMScheduler" if self.beta_schedule == "sigmoid" else "DDIMScheduler"
        return {"_class_name": name, "clip_sample": False, **asdict(self)}

    @cached_property
    def betas(self) -> Tensor:
        """Share of the variance that each timestep replaces by noise. float32 [T], in (0, 1]."""
        choose = BETAS[self.beta_schedule]
        betas = choose(self.num_train_timesteps, self.beta_start, self.beta_end)
        return rescale_to_zero_snr(betas) if self.rescale_betas_zero_snr else betas

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        """alpha_bar: the product of (1 - beta) up to t. float32 [T]. Ho et al. 2020, eq. 4."""
        return torch.cumprod(1 - self.betas, dim=0)

    @property
    def final_alpha_cumprod(self) -> float:
        """The alpha_bar at which DDIM ends: 1, or in SD 1.x that of t = 0 (0.99915)."""
        return 1.0 if self.set_alpha_to_one else self.alphas_cumprod[0].item()

    @property
    def sigma(self) -> Tensor:
        """`sigma_of` each timestep. float32 [T], rising from 0.03 to 14.6 in SD 1.x."""
        return sigma_of(self.alphas_cumprod)

    def alpha_bar(self, t: float | Tensor) -> Tensor:
        """alpha_bar at t, in the shape of t: the table's where t is whole.

        Between two whole timesteps log(sigma) goes straight from the one to the other, as samplers
        with Karras spacing need it. -> float32 for t of an integer type; for a float type float64,
        on the CPU. ValueError where t is outside 0..T-1.
        """
        t = torch.as_tensor(t, dtype=torch.float64 if isinstance(t, float) else None)
        last = self.num_train_timesteps - 1
        if not ((t >= 0) & (t <= last)).all():
            raise ValueError(f"t = {t.tolist()}: a timestep is a number from 0 to {last}.")
        if not t.is_floating_point():
            return self.alphas_cumprod.to(t.device)[t]
        t = t.cpu().double()
        below, log_sigma = t.long(), self._log_sigma
        above = (below + 1).clamp(max=last)
        between = log_sigma[below] + (t - below) * (log_sigma[above] - log_sigma[below])
        table = self.alphas_cumprod[below].double()
        return torch.where(t == below, table, torch.sigmoid(-2 * between))

    def timestep_of(self, sigma: float | Tensor) -> Tensor:
        """The fractional timestep with this sigma, the inverse of `alpha_bar`; float64 on the CPU.

        Sigmas beyond the table get the timestep at its end, 0 or T-1.
        """
        sigma = torch.as_tensor(sigma, dtype=torch.float64, device="cpu")
        table = self._log_sigma.numpy()
        t = np.interp(sigma.log().numpy(), table, np.arange(self.num_train_timesteps))
        return torch.as_tensor(t, dtype=torch.float64)

    @cached_property
    def _log_sigma(self) -> Tensor:
        return sigma_of(self.alphas_cumprod.double()).log()

    def snr(self, t: float | Tensor) -> Tensor:
        """Signal-to-noise ratio a / (1 - a) = 1 / sigma^2, in the shape of t."""
        return sigma_of(self.alpha_bar(t)) ** -2

    def add_noise(self, x0: Tensor, noise: Tensor, t: float | Tensor) -> Tensor:
        """Jump from clean latents straight to timestep t, a draw of q(x_t | x_0).

        x0, noise: one shape [B, ...]; t: scalar or [B], 0..T-1 -> x_t in the shape of x0.
        ValueError where shapes do not fit or t is no timestep. Ho et al. 2020, eq. 4.
        """
        signal, share = self._shares(x0, noise, t)
        return signal * x0 + share * noise

    def eps_from_v(self, v: Tensor, x: Tensor, t: float | Tensor) -> Tensor:
        """The noise in x that v = sqrt(a) eps - sqrt(1 - a) x0 tells: sqrt(a) v + sqrt(1 - a) x.

        Shapes and errors as in `add_noise`. (x, v) is (x0, eps) turned by an angle, so the way back
        is a turn too. Salimans & Ho 2022 (arXiv 2202.00512), appendix D.
        """
        signal, share = self._shares(x, v, t)
        return signal * v + share * x

    def v_from_eps(self, eps: Tensor, x: Tensor, t: float | Tensor) -> Tensor:
        """The inverse of `eps_from_v`: v = (eps - sqrt(1 - a) x) / sqrt(a), undefined for a = 0."""
        signal, share = self._shares(x, eps, t)
        return (eps - share * x) / signal

    def to_eps(self, answer: Tensor, x: Tensor, t: float | Tensor) -> Tensor:
        """What the model answered to x at t, noise or v by `prediction_type` -> noise."""
        return answer if self.prediction_type == "epsilon" else self.eps_from_v(answer, x, t)

    def _shares(self, x: Tensor, other: Tensor, t: float | Tensor) -> tuple[Tensor, Tensor]:
        """sqrt(alpha_bar) and sqrt(1 - alpha_bar) at t, shaped to multiply x and other."""
        alpha_bar = self.alpha_bar(t)
        if other.shape != x.shape or alpha_bar.shape not in ((), x.shape[:1]):
            shapes = [list(part.shape) for part in (x, other, alpha_bar)]
            raise ValueError(f"latents and t of shapes {shapes}: give equal ones, and one t each.")
        alpha_bar = alpha_bar.reshape(-1, *[1] * (x.dim() - 1))  # [B, 1, 1, 1]
        return alpha_bar.sqrt().to(x), (1 - alpha_bar).sqrt().to(x)

    def timesteps(self, steps: int, spacing: str = "", offset: int | None = None) -> Tensor:
        """The timesteps visited in `steps` steps. -> int64 [steps], falling.

        Spacing and offset are the config's unless given. "karras" gives float64: its timesteps lie
        between the whole ones. ValueError where steps is not in 1..T or the spacing is unknown, and
        where a visited timestep holds nothing of the picture (zero terminal SNR). Lin et al. 2023
        (arXiv 2305.08891), table 2; Karras et al. 2022 (arXiv 2206.00364), eq. 5.
        """
        last, spacing = self.num_train_timesteps - 1, spacing or self.timestep_spacing
        offset = self.steps_offset if offset is None else offset
        _check_choice("spacing", spacing, (*SPACINGS, "karras"))
        if not isinstance(steps, Integral) or not 1 <= steps <= last + 1 or offset < 0:
            raise ValueError(
                f"steps = {steps}, offset = {offset}: use 1..{last + 1} and 0 or more."
            )
        if spacing == "karras":
            return self._karras(steps)
        if spacing == "leading":  # even strides up from the offset, which shrinks if it must
            up = np.arange(steps) * ((last + 1) // steps)
            t = (up + min(offset, last - up[-1]))[::-1]
        elif spacing == "trailing":  # down from the noisiest; arange may round one too many
            t = np.arange(last + 1, 0, -(last + 1) / steps)[:steps].round() - 1
        else:  # both ends; a single step gets t = 0, the cleanest
            t = np.linspace(0, last, steps).round()[::-1]
        t = torch.from_numpy(t.astype(np.int64))
        self._check_start(t[0])
        return t

    def _karras(self, steps: int, rho: float = 7.0) -> Tensor:
        """Timesteps whose sigmas^(1/rho) are evenly spaced, from that of t = T-1 to that of 0."""
        self._check_start(self.num_train_timesteps - 1)
        low, high = (self._log_sigma[[0, -1]] / rho).exp()
        sigmas = (high + (low - high) * torch.linspace(0, 1, steps, dtype=torch.float64)) ** rho
        return self.timestep_of(sigmas).round(decimals=9)  # so that both ends are whole

    def _check_start(self, t: int | Tensor) -> None:
        if self.alphas_cumprod[t] == 0:
            raise ValueError(
                f"A run would start at t = {int(t)}, where alpha_bar is 0: no picture is left, and "
                "a clean-guess from eps would divide by 0. Choose spacing='leading'."
            )


def _check_choice(name: str, value: str, choices) -> None:
    if value not in choices:
        raise ValueError(f"{name} {value!r} is not supported. Choose from: {', '.join(choices)}.")
