"""Whole trajectories and timestep tables beside those of diffusers, on a made-up network.

The network is a fixed random convolution, so nothing is downloaded. Run with `-s` for the table of
differences. Where diffusers works in sigma (latents = picture + sigma * noise), its latents are
divided by sqrt(sigma^2 + 1), which is our scale.
"""

import pytest
import torch

from boringfusion_lite.samplers import sample
from boringfusion_lite.schedule import SPACINGS, Schedule

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")

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


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", STEPS)
def test_euler(spacing, steps):
    """Their own table where it is whole, and ours handed to them where it is not (linspace)."""
    scheduler = theirs("EulerDiscreteScheduler", spacing)
    schedule = Schedule(timestep_spacing=spacing)
    if spacing == "linspace":
        scheduler.set_timesteps(timesteps=schedule.timesteps(steps).tolist())
    else:
        scheduler.set_timesteps(steps)
    reference = run_theirs(scheduler, in_sigma=True)
    compare(f"euler {spacing}", steps, run_ours("euler", schedule, steps=steps), reference)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", STEPS)
def test_dpmpp_2m(spacing, steps):
    """On their table, which with leading and linspace divides by steps + 1, and on ours."""
    schedule = Schedule(timestep_spacing=spacing)
    fields = {"algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint"}
    for table in ("their", "our"):
        scheduler = theirs("DPMSolverMultistepScheduler", spacing, **fields)
        if table == "their":
            scheduler.set_timesteps(steps)
        else:
            scheduler.set_timesteps(timesteps=schedule.timesteps(steps).tolist())
        ours = run_ours("dpmpp_2m", schedule, timesteps=scheduler.timesteps)
        reference = run_theirs(scheduler)
        compare(f"dpmpp_2m {spacing}, {table} table", steps, ours, reference)
