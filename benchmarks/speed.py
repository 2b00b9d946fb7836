"""How long until there is a picture? This package and diffusers, in turns, on the same weights.

    python benchmarks/speed.py                   # prints a table, writes benchmarks/speed.json

Cold: a new process, from its start to the first picture of 20 guided DDIM steps. Warm: one more
such picture in the same process. The two take turns, so that both meet the same machine; the table
shows medians with the smallest and largest value, and the ratio of the medians.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

PROMPT = "photo of a couch, photorealistic"
ROOT = Path(__file__).parent.parent
MODEL = ROOT / "data" / "tiny-sd"


def ours():
    """A function that draws one picture with this package."""
    import boringfusion_lite as bf

    sd = bf.load(MODEL, device="cpu")
    return lambda seed: sd(PROMPT, steps=20, seed=seed)


def theirs():
    """A function that draws one picture with diffusers, its progress bars off."""
    import torch
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(MODEL, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)

    def draw(seed: int):
        generator = torch.Generator().manual_seed(seed)
        return pipe(PROMPT, num_inference_steps=20, generator=generator).images[0]

    return draw


def child(which: str, began: float, warm: int) -> None:
    """Run in a new process: one cold picture, then some warm ones; seconds as JSON on stdout."""
    draw = {"ours": ours, "diffusers": theirs}[which]()
    draw(0)
    cold = time.time() - began
    seconds = []
    for seed in range(1, warm + 1):
        start = time.perf_counter()
        draw(seed)
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"cold": cold, "warm": seconds}))


def measure(rounds: int, warm: int) -> dict[str, dict[str, list[float]]]:
    """Both packages in turns: name -> "cold" and "warm" -> seconds."""
    results = {name: {"cold": [], "warm": []} for name in ("ours", "diffusers")}
    for _ in range(rounds):
        for name, seconds in results.items():
            command = [sys.executable, __file__, "--child", name, "--warm", str(warm)]
            command += ["--began", repr(time.time())]
            environment = os.environ | {"HF_HUB_OFFLINE": "1"}
            run = subprocess.run(command, capture_output=True, text=True, env=environment)
            if run.returncode:
                raise SystemExit(f"{name} failed:\n{run.stderr}")
            child_seconds = json.loads(run.stdout.splitlines()[-1])
            seconds["cold"].append(child_seconds["cold"])
            seconds["warm"] += child_seconds["warm"]
    return results


def table(results: dict) -> str:
    """Medians, ranges and ratios as lines of text."""
    lines = [f"{'seconds (median, min - max)':30} {'ours':>20} {'diffusers':>20} {'ratio':>6}"]
    for kind, label in (("cold", "process start to 1st picture"), ("warm", "one more picture")):
        medians, cells = [], []
        for name in ("ours", "diffusers"):
            seconds = results[name][kind]
            medians.append(statistics.median(seconds))
            cells.append(f"{medians[-1]:.2f} ({min(seconds):.2f} - {max(seconds):.2f})")
        ratio = f"{medians[1] / medians[0]:.2f}x"
        lines.append(f"{label:30} {cells[0]:>20} {cells[1]:>20} {ratio:>6}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="new processes of each (5)")
    parser.add_argument("--warm", type=int, default=3, help="warm pictures in each process (3)")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args.child, args.began, args.warm)
    results = measure(args.rounds, args.warm)
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    args.output.write_text(json.dumps({"machine": machine, **results}, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
