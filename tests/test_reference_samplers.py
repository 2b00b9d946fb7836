"""Whole trajectories and timestep tables beside those of diffusers, on a made-up network.

The network is a fixed random convolution, so nothing is downloaded. Run with `-s` for the table of
differences. Where diffusers works in sigma (latents = picture + sigma * noise), its latents are
divided by sqrt(sigma^2 + 1), which is our scale.
"""

import math
import sys
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from boringfusion_lite.onestep import dpmpp_2s_step
from boringfusion_lite.samplers import SAMPLERS, sample
from boringfusion_lite.schedule import SPACINGS, Schedule

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

STEPS = (1, 2, 3, 5, 9, 20, 50)
TABLES = (1, 3, 9, 20, 50, 999, 1000)
SD_CONFIG = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
WEIGHT = torch.randn(4, 4, 3, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def network(x, t):
    """Nonlinear in x, different at every t, of the size of real noise. float64 inside."""
    wave = torch.nn.functional.conv2d(x.double(), WEIGHT, padding=1)
    return 1.5 * torch.tanh(0.3 * wave + torch.sin(torch.as_tensor(t) / 150)).to(x.dtype)


def theirs(name, spacing="leading", dtype=torch.float32, **fields):
    """A scheduler of theirs; in float64 its sums lose nothing, and the bound can be tight."""
    config = {**SD_CONFIG, "steps_offset": 1, "timestep_spacing": spacing, **fields}
    scheduler = getattr(diffusers, name)(**config)
    for table in {"alphas_cumprod", "final_alpha_cumprod"} & vars(scheduler).keys():
        setattr(scheduler, table, getattr(scheduler, table).to(dtype))
    return scheduler


def start():
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def run_theirs(scheduler, in_sigma=False, noises=None, **step_arguments):
    """Their latents after every step, in our scale."""
    x, trajectory = start(), []
    if in_sigma:
        x = x * (scheduler.sigmas[0].double() ** 2 + 1) ** 0.5
    for i, t in enumerate(scheduler.timesteps):
        eps = network(scheduler.scale_model_input(x, t), t)
        if noises is not None:
            step_arguments["variance_noise"] = noises[i]
        x = scheduler.step(eps, t, x, **step_arguments).prev_sample
        trajectory.append(x / (scheduler.sigmas[i + 1].double() ** 2 + 1) ** 0.5 if in_sigma else x)
    return torch.stack(trajectory)


def run_ours(sampler, schedule, **arguments):
    frames = sample(network, start(), schedule, sampler, **arguments)
    return torch.stack([frame.x for frame in frames])


def compare(label, steps, ours, reference, bound=1e-4):
    difference, size = (ours - reference).abs().max().item(), reference.abs().max().item()
    print(f"| {label} | {steps} | {difference:.1e} | {difference / size:.1e} |")
    assert ours.shape == reference.shape
    assert difference < bound * size


@pytest.mark.parametrize("name", ["linear", "scaled_linear"])
def test_alpha_bar_is_the_same_to_the_bit(name):
    fields = {"beta_schedule": name, "beta_start": 0.001, "beta_end": 0.015}
    scheduler = theirs("DDPMScheduler", **fields)
    assert torch.equal(Schedule(**fields).alphas_cumprod, scheduler.alphas_cumprod)
    assert torch.equal(Schedule().alphas_cumprod, theirs("DDIMScheduler").alphas_cumprod)


@pytest.mark.parametrize("name", ["PNDMScheduler", "DDIMScheduler"])
@pytest.mark.parametrize("to_one", [True, False])
def test_configs_pass_both_ways(name, to_one):
    scheduler = theirs(name, "trailing", set_alpha_to_one=to_one)
    schedule = Schedule.from_config(dict(scheduler.config))
    assert schedule == Schedule(timestep_spacing="trailing", set_alpha_to_one=to_one)
    opened = diffusers.DDIMScheduler.from_config(schedule.to_config())
    assert torch.equal(opened.alphas_cumprod, schedule.alphas_cumprod)
    assert float(opened.final_alpha_cumprod) == schedule.final_alpha_cumprod
    opened.set_timesteps(20)
    assert torch.equal(opened.timesteps, schedule.timesteps(20))


@pytest.mark.parametrize("name", ["DDPMScheduler", "DDIMScheduler", "EulerDiscreteScheduler"])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", TABLES)
def test_timestep_tables(name, spacing, steps):
    """Equal, but for one of theirs that asks for timestep 1000 of 0..999.

    Their Euler keeps fractions with linspace; ours are rounded, as their DDIM does it.
    """
    scheduler = theirs(name, spacing)
    scheduler.set_timesteps(steps)
    expected = scheduler.timesteps.round().long()
    if (spacing, steps) == ("leading", 1000):
        assert expected[0] == 1000
        expected = expected - 1
    assert torch.equal(Schedule().timesteps(steps, spacing), expected)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_timestep_tables_at_every_number_of_steps(spacing):
    """Their trailing tables are one too long (down to -1) at some odd numbers: cut them there."""
    scheduler = theirs("DDIMScheduler", spacing)
    for steps in range(1, 1000):
        scheduler.set_timesteps(steps)
        assert torch.equal(Schedule().timesteps(steps, spacing), scheduler.timesteps[:steps])


BOUNDS = [(torch.float32, 1e-4), (torch.float64, 1e-5)]


@pytest.mark.parametrize(("dtype", "bound"), BOUNDS)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", STEPS)
def test_ddpm(spacing, steps, dtype, bound):
    """Latents in float32, so that both sides draw the same noise from the same seed."""
    scheduler = theirs("DDPMScheduler", spacing, dtype, clip_sample=False)
    scheduler.set_timesteps(steps)
    x, reference = start().float(), []
    generator = torch.Generator().manual_seed(3)
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t), t, x, generator=generator).prev_sample
        reference.append(x)
    schedule, generator = Schedule(timestep_spacing=spacing), torch.Generator().manual_seed(3)
    frames = sample(network, start().float(), schedule, "ddpm", steps, generator=generator)
    ours = torch.stack([frame.x for frame in frames])
    compare(f"ddpm {dtype} {spacing}", steps, ours, torch.stack(reference), bound)


@pytest.mark.parametrize(("dtype", "bound"), [BOUNDS[0], (torch.float64, 1e-11)])
@pytest.mark.parametrize("to_one", [False, True])
@pytest.mark.parametrize("eta", [0.0, 0.7])
@pytest.mark.parametrize(
    ("spacing", "steps"),
    [("leading", n) for n in STEPS] + [("trailing", n) for n in (1, 2, 5, 20, 50)],
)
def test_ddim(spacing, steps, eta, to_one, dtype, bound):
    """Their DDIM always goes 1000 // steps down, which is the next timestep of the table only
    where the table is even: leading, and trailing where steps divides 1000."""
    fields = {"clip_sample": False, "set_alpha_to_one": to_one}
    scheduler = theirs("DDIMScheduler", spacing, dtype, **fields)
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(3)
    noises = [torch.randn(start().shape, generator=generator).double() for _ in range(steps)]
    reference = run_theirs(scheduler, eta=eta, noises=noises)
    schedule = Schedule(timestep_spacing=spacing, set_alpha_to_one=to_one)
    generator = torch.Generator().manual_seed(3)
    ours = run_ours("ddim", schedule, steps=steps, eta=eta, generator=generator)
    end = "1" if to_one else "alpha_bar[0]"
    compare(f"ddim eta {eta} {dtype} {spacing}, ends at {end}", steps, ours, reference, bound)


# ---- all methods that diffusers writes in sigma or with its table of sigmas ----------------------

# name -> (file, class, fields, "sigma" where its latents are picture + sigma * noise)
THEIRS = {
    "plms": ("pndm", "PNDMScheduler", {"skip_prk_steps": True}, ""),
    "euler": ("euler_discrete", "EulerDiscreteScheduler", {}, "sigma"),
    "euler_a": ("euler_ancestral_discrete", "EulerAncestralDiscreteScheduler", {}, "sigma"),
    "heun": ("heun_discrete", "HeunDiscreteScheduler", {}, "sigma"),
    "lms": ("lms_discrete", "LMSDiscreteScheduler", {}, "sigma"),
    "dpm2": ("k_dpm_2_discrete", "KDPM2DiscreteScheduler", {}, "sigma"),
    "dpm2_a": ("k_dpm_2_ancestral_discrete", "KDPM2AncestralDiscreteScheduler", {}, "sigma"),
    "dpmpp_2m": ("dpmsolver_multistep", "DPMSolverMultistepScheduler", {}, ""),
    "dpmpp_sde": ("dpmsolver_sde", "DPMSolverSDEScheduler", {}, "sigma"),
    "unipc": ("unipc_multistep", "UniPCMultistepScheduler", {}, ""),
}
NUMBERS = (1, 2, 3, 10, 20, 50)
LOG_SIGMAS = (1 / Schedule().alphas_cumprod.double() - 1).log().numpy() / 2


class Doubles:
    """numpy or torch, but who asks for float32 gets float64: their code as it is, without loss."""

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        return getattr(self.module, "float64" if name == "float32" else name)


def gauss(function, low, high, **_):
    """scipy's integrate.quad for the cubics of LMS, on which three Gauss points are exact."""
    low, high = float(low), float(high)
    points, factors = np.polynomial.legendre.leggauss(3)
    at = (low + high) / 2 + (high - low) / 2 * points
    return ((high - low) / 2 * sum(f * float(function(x)) for f, x in zip(factors, at)),)


def drawn(count, seed=3):
    """What our loop draws, draw by draw."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(start().shape, generator=generator).double() for _ in range(count)]


def random_walk(noises):
    """The noise sampler of their SDE scheduler, over sigma: each half step walks on by one draw."""
    path, where = {}, iter(noises)

    def noise_sampler(high, low):
        """Called with (sigma, halfway), then with (sigma, sigma_next)."""
        high, low = float(high), float(low)
        known = path.get(high)
        if known is None:
            path[high] = (low, (high - low) ** 0.5 * next(where))
            return path[high][1] / (high - low) ** 0.5
        middle, walked = known
        walked = walked + (middle - low) ** 0.5 * next(where)
        return walked / (high - low) ** 0.5

    return noise_sampler


@pytest.fixture
def build(monkeypatch):
    """A scheduler of theirs, without scipy and torchsde; it draws what is in its list `draws`."""

    def build(sampler, spacing, dtype):
        file, name, fields, _ = THEIRS[sampler]
        if sampler == "dpmpp_sde":  # imports torchsde for its noise, which we hand it
            monkeypatch.setitem(sys.modules, "torchsde", SimpleNamespace())
        module = import_module(f"diffusers.schedulers.scheduling_{file}")
        monkeypatch.setattr(module, "integrate", SimpleNamespace(quad=gauss), raising=False)
        if dtype == torch.float64:
            monkeypatch.setattr(module, "np", Doubles(np))
            monkeypatch.setattr(module, "torch", Doubles(torch))
        own = "linspace" if spacing == "karras" else spacing  # whose ends Karras spacing keeps
        config = {**SD_CONFIG, "steps_offset": 1, "timestep_spacing": own, **fields}
        if spacing == "karras" and sampler != "euler_a":
            config["use_karras_sigmas"] = True
        scheduler = getattr(module, name)(**config)
        scheduler.alphas_cumprod = Schedule().alphas_cumprod.to(dtype)
        if sampler == "plms":  # the only one here that does not end at sigma 0
            scheduler.final_alpha_cumprod = scheduler.alphas_cumprod[0]
        draw = lambda *_, **__: scheduler.draws.pop(0)  # noqa: E731
        monkeypatch.setattr(module, "randn_tensor", draw, raising=False)
        return scheduler

    return build


def set_steps(scheduler, sampler, steps, karras):
    if karras:  # a single step of linspace would be the cleanest one
        scheduler.register_to_config(timestep_spacing="linspace" if steps > 1 else "trailing")
    scheduler.set_timesteps(steps)
    if karras and sampler == "euler_a":  # which has no Karras spacing there
        scheduler.timesteps = Schedule().timesteps(steps, "karras")
        alpha_bar = Schedule().alpha_bar(scheduler.timesteps)
        sigmas = torch.cat([(1 / alpha_bar - 1).sqrt(), torch.zeros(1)])
        scheduler.sigmas = sigmas.to(scheduler.alphas_cumprod.dtype)
    scheduler.draws = drawn(2 * steps)
    if sampler == "dpmpp_sde":
        scheduler.noise_sampler = random_walk(scheduler.draws)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)


def timestep_of(sigma):
    """Where on the schedule's way this sigma lies: straight lines in log(sigma), as k-diffusion."""
    return float(np.interp(math.log(sigma), LOG_SIGMAS, np.arange(1000)))


def whole_or_float32(t):
    """As our loop hands it to the network; their own t is rounded, with Karras spacing, in some."""
    return torch.tensor(round(t) if abs(t - round(t)) < 1e-4 else t)


def run_reference(scheduler, in_sigma):
    """Their latents after every whole step, in our scale, and the timesteps that they began at."""
    x, trajectory, began, fresh = start(), [], [], True
    if in_sigma:
        x = x * (scheduler.sigmas[0].double() ** 2 + 1) ** 0.5
        levels = torch.unique(scheduler.sigmas.double()).flip(0)[1:].tolist()
    for i, own in enumerate(scheduler.timesteps):
        seen = scheduler.scale_model_input(x, own)
        t = own.item()
        if in_sigma:
            shrink = scheduler.scale_model_input(torch.ones(1, dtype=torch.float64), own).item()
            t = timestep_of((1 / shrink**2 - 1) ** 0.5)
        elif getattr(scheduler.config, "use_karras_sigmas", False):
            t = timestep_of(scheduler.sigmas[i].item())
        began += [t] if fresh else []
        x = scheduler.step(network(seen, whole_or_float32(t)), own, x).prev_sample
        fresh = getattr(scheduler, "state_in_first_order", True)
        if fresh or i == len(scheduler.timesteps) - 1:
            level = levels[len(trajectory)] if in_sigma else 0
            trajectory.append(x / (level**2 + 1) ** 0.5)
    return torch.stack(trajectory), began


@pytest.mark.parametrize(
    ("spacing", "dtype", "bound"),
    [
        ("leading", torch.float32, 1e-5),
        ("karras", torch.float32, 1e-5),
        ("leading", torch.float64, 1e-9),
        ("karras", torch.float64, 1e-9),
    ],
)
@pytest.mark.parametrize("sampler", THEIRS)
def test_trajectory(sampler, spacing, dtype, bound, build):
    """Their own tables, as they are and with all float32 replaced by float64.

    Not theirs: where they round Karras timesteps before they ask the network (dpm2, dpm2_a,
    dpmpp_2m, unipc), both are asked at the exact ones, as in k-diffusion. And their dpm2_a loses
    the small sigma_down of one stride over the whole way, a difference of squares, in float32.
    """
    if (sampler, spacing) == ("plms", "karras"):
        with pytest.raises(ValueError, match="lms"):  # it needs even timesteps
            list(
                sample(
                    lambda x, t: x, torch.ones(1, 4, 2, 2), Schedule(), "plms", 5, spacing=spacing
                )
            )
        return
    scheduler = build(sampler, spacing, dtype)
    lossy = (sampler, spacing, dtype) == ("dpm2_a", "karras", torch.float32)
    for steps in (n for n in NUMBERS if n != 2 or not lossy):
        set_steps(scheduler, sampler, steps, spacing == "karras")
        reference, began = run_reference(scheduler, THEIRS[sampler][-1])
        if sampler == "plms" and steps > 1:  # where the second call is a step of its own
            reference, began = reference[1:], began[:1] + began[2:]
        table = Schedule().timesteps(steps, spacing)
        if (sampler, spacing) in [("dpmpp_2m", "leading"), ("unipc", "leading")]:
            table = torch.tensor(began)  # their own, of steps + 1
        assert np.allclose(began, table.tolist(), atol=1e-2)
        generator = torch.Generator().manual_seed(3)
        ours = run_ours(sampler, Schedule(), timesteps=table, generator=generator)
        compare(f"{sampler} {spacing} {str(dtype)[6:]}", steps, ours, reference, bound)


# ---- DPM-Solver++(2S), which diffusers has without fresh noise only ------------------------------


def levels(steps, spacing):
    """sigma at each of our timesteps and at the end, 0, in float64."""
    alpha_bar = Schedule().alpha_bar(Schedule().timesteps(steps, spacing)).double()
    return [*((1 - alpha_bar) / alpha_bar).sqrt().tolist(), 0.0]


def predict_x0(x, sigma):
    """The clean latents in x = picture + sigma * noise."""
    eps = network(x / (sigma**2 + 1) ** 0.5, whole_or_float32(timestep_of(sigma)))
    return x - sigma * eps


@pytest.mark.parametrize("spacing", ["leading", "karras"])
@pytest.mark.parametrize("steps", NUMBERS)
def test_dpmpp_2s_a(spacing, steps):
    """The paper's algorithm 1 with r = 1/2 and alpha = 1, to sigma_down, as k-diffusion has it."""
    sigmas, noises, reference = levels(steps, spacing), drawn(steps), []
    x = start() * (sigmas[0] ** 2 + 1) ** 0.5
    for s, t, noise in zip(sigmas, sigmas[1:], noises):
        if t == 0:
            x = predict_x0(x, s)
        else:
            up = (t**2 * (s**2 - t**2) / s**2) ** 0.5
            down = (t**2 - up**2) ** 0.5
            h = math.log(s) - math.log(down)
            middle = math.exp(math.log(s) - h / 2)
            u = middle / s * x - math.expm1(-h / 2) * predict_x0(x, s)
            x = down / s * x - math.expm1(-h) * predict_x0(u, middle) + up * noise
        reference.append(x / (t**2 + 1) ** 0.5)
    generator = torch.Generator().manual_seed(3)
    ours = run_ours("dpmpp_2s_a", Schedule(), steps=steps, spacing=spacing, generator=generator)
    compare(f"dpmpp_2s_a {spacing} float64", steps, ours, torch.stack(reference), 1e-9)


@pytest.mark.parametrize("spacing", ["leading", "karras"])
@pytest.mark.parametrize("steps", NUMBERS)
def test_dpmpp_2s(spacing, steps, monkeypatch):
    """Two steps of theirs are one of ours: their table gets a sigma halfway of every stride."""
    sigmas = levels(steps, spacing)
    halves = [[s, (s * t) ** 0.5] for s, t in zip(sigmas, sigmas[1:-1])]
    table = torch.tensor([*sum(halves, []), *sigmas[-2:]], dtype=torch.float64)
    scheduler = diffusers.DPMSolverSinglestepScheduler(**SD_CONFIG, lower_order_final=True)
    scheduler.set_timesteps(len(table) - 1)
    scheduler.set_begin_index(0)
    scheduler.sigmas = table
    x, reference = start(), []
    for i, own in enumerate(scheduler.timesteps):
        t = whole_or_float32(timestep_of(table[i].item()))
        x = scheduler.step(network(x, t), own, x).prev_sample
        reference += [] if i % 2 == 0 and i < len(table) - 2 else [x]
    monkeypatch.setitem(SAMPLERS, "dpmpp_2s", dpmpp_2s_step)
    ours = run_ours("dpmpp_2s", Schedule(), steps=steps, spacing=spacing)
    compare(f"dpmpp_2s {spacing} float64", steps, ours, torch.stack(reference), 1e-10)
