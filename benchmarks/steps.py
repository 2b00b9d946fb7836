"""One UNet step and one VAE decoding, ours and diffusers' in turns, on the same weights and inputs.

    python benchmarks/steps.py                   # prints a table, writes benchmarks/steps.json
    python benchmarks/steps.py --size tiny       # only the bundled model's networks

Rows that are not measured this time stay as they are.

Weights are random: they cost the same time as trained ones. A step is what guidance asks for, a
batch of two. "ours, compiled" is torch.compile as in `sd.compile()`: on a GPU, or with --compiled.
Medians with the smallest and largest value; the ratio is diffusers' median over ours.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from boringfusion_lite import names, recipes, settings
from boringfusion_lite.saving import renamed
from boringfusion_lite.unet import UNet, UNetConfig
from boringfusion_lite.vae import VAE, VAEConfig

SIZES = {
    "tiny": (recipes.TINY_UNET, recipes.TINY_VAE),
    "SD 1.5": (UNetConfig(), VAEConfig()),
}


def twins(ours: torch.nn.Module, theirs_class, config: dict, their_name: Callable, place: dict):
    """Our network and diffusers' on one set of random weights, which they share in memory."""
    ours, theirs = ours.to(**place).eval(), theirs_class.from_config(config)
    theirs.load_state_dict(renamed(ours, their_name, place["dtype"]), assign=True)
    return ours, theirs.to(**place).eval()


def networks(
    size: str, device: torch.device, dtype: torch.dtype, compiled: bool
) -> dict[str, dict[str, Callable]]:
    """Stage -> package -> a function that does it once."""
    unet_config, vae_config = SIZES[size]
    place, g = {"device": device, "dtype": dtype}, torch.Generator().manual_seed(0)
    cells = unet_config.sample_size
    x = torch.randn(2, 4, cells, cells, generator=g).to(**place)
    context = torch.randn(2, 77, unet_config.context_width, generator=g).to(**place)
    t = torch.tensor(500, device=device)
    unet, their_unet = twins(
        UNet(unet_config), UNet2DConditionModel, settings.unet_json(unet_config),
        lambda name: names.unet_to_diffusers(name, unet_config), place,
    )  # fmt: skip
    vae, their_vae = twins(
        VAE(vae_config), AutoencoderKL, settings.vae_json(vae_config),
        lambda name: names.vae_to_diffusers(name, vae_config), place,
    )  # fmt: skip
    vae = vae.to(memory_format=torch.channels_last)  # as `load` does
    z = x[:1]
    scaled = z / vae_config.scaling_factor
    stages = {
        "UNet step, batch 2": {
            "ours": lambda: unet(x, t, context),
            "diffusers": lambda: their_unet(x, t, context).sample,
        },
        "VAE decoding": {
            "ours": lambda: vae.decode(z),
            "diffusers": lambda: their_vae.decode(scaled).sample,
        },
    }
    if compiled:
        for stage in stages.values():
            stage["ours, compiled"] = torch.compile(stage["ours"])
    return stages


def seconds(work: Callable, device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(stage: dict[str, Callable], device: torch.device, rounds: int) -> dict:
    """Package -> seconds of each round, in turns, after one round that does not count; and the
    largest difference between the two answers. Who begins changes from round to round."""
    answers = {name: work().float() for name, work in stage.items()}
    results, order = {name: [] for name in stage}, list(stage)
    for _ in range(rounds):
        order.reverse()
        for name in order:
            results[name].append(round(seconds(stage[name], device), 5))
    difference = (answers["ours"] - answers["diffusers"]).abs().max().item()
    return {"seconds": results, "difference": difference}


def row(label: str, result: dict) -> str:
    medians, cells = {}, []
    for name, values in result["seconds"].items():
        medians[name] = statistics.median(values)
        cells.append(f"{medians[name]:.4g} ({min(values):.4g} - {max(values):.4g})")
    ratio = medians["diffusers"] / medians["ours"]
    cells = "".join(f"{cell:>32}" for cell in cells)
    return f"{label:44}{cells}{ratio:>7.2f}x{result['difference']:>12.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, help="only this one")
    parser.add_argument("--dtype", nargs="+", help="float32 and bfloat16; float16 too on a GPU")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compiled", action="store_true", help="on a CPU too")
    parser.add_argument("--rounds", type=int, help="20 for tiny, 4 for SD 1.5 on a CPU")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    device = torch.device(args.device)
    gpu = device.type == "cuda"
    dtypes = args.dtype or ["float32", "bfloat16"] + ["float16"] * gpu
    machine = torch.cuda.get_device_name() if gpu else platform.processor() or platform.machine()
    found = {"machine": machine, "cores": os.cpu_count(), "torch": torch.__version__, "rows": {}}
    if args.output.exists():
        found["rows"] = json.loads(args.output.read_text())["rows"]
    heads = f"{'ours':>32}{'diffusers':>32}{'ratio':>8}{'difference':>12}"
    print(f"{'seconds: median (min - max)':44}{heads}")
    torch.set_grad_enabled(False)
    for size in [args.size] if args.size else SIZES:
        rounds = args.rounds or (4 if size != "tiny" and not gpu else 20)
        for dtype in dtypes:
            compiled = gpu or args.compiled
            for stage, works in networks(size, device, getattr(torch, dtype), compiled).items():
                label = f"{size}, {stage}, {dtype}{', GPU' * gpu}"
                found["rows"][label] = measure(works, device, rounds)
                print(row(label, found["rows"][label]), flush=True)
                args.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
