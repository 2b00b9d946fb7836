"""One process, two, and two that are killed on the way and go on: is it the same training?

    python data/experiments/two_processes.py     # a minute on two cores

Writes two_processes.json. The launcher is torchrun; in float32, so that what differs is the order
of sums. The killed run loses the steps since its last checkpoint and makes them again.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import torch
from unet_trial import CPU, HERE, Ground, config

from boringfusion_lite import recipes, weights
from boringfusion_lite.processes import find_team
from boringfusion_lite.training import Run
from boringfusion_lite.unet import UNet

STEPS, SAVED_AT, KILLED_AT, PICTURES = 60, 20, 30, 128


def member(folder: Path, dies: bool) -> None:
    """One process of a run: the first writes a line a step, and dies in the middle of it."""
    torch.set_num_threads(1)
    recipes.mixed_precision = lambda device: nullcontext()
    team = find_team("cpu")
    ground = Ground.load(PICTURES, unseen=1)
    sd = ground.sd
    torch.manual_seed(0)
    unet = weights.start_silent(UNet(config(sd, (32, 64))))
    parts = (unet, sd.text_encoder, ground.latents, ground.pictures, sd.tokenizer, sd.schedule)
    loss = recipes.UNetLoss(*parts, CPU, train_text=False, batch=16)
    endless = 1e6  # minutes: the learning rate stays what it is, however long a step takes
    run = Run("unet", unet, loss, folder, endless, 1e-3, warm_up=20, save_every=1e9, team=team)
    with open(folder / "losses.jsonl", "a") as log:
        for record in run.train():
            if team.is_main_process:
                print(json.dumps([record.step, record.loss]), file=log, flush=True)
            if record.step == SAVED_AT and team.is_main_process:
                run.save()
            if dies and record.step == KILLED_AT:
                os.kill(os.getpid(), signal.SIGKILL)
            if record.step == STEPS:
                break
    team.wait_for_everyone()
    team.end_training()


def losses(folder: Path, processes: int, dies: bool = False) -> list[list[float]]:
    """Start a run, or go on with one; [step, loss] of all steps made in the folder so far."""
    folder.mkdir(exist_ok=True)
    command = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]  # any free port
    command += [__file__, "--member", str(folder)] + ["--dies"] * dies
    run = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    if bool(run.returncode) != dies:
        raise SystemExit(run.stderr)
    lines = (folder / "losses.jsonl").read_text().splitlines()
    return [[step, round(loss, 7)] for step, loss in map(json.loads, lines)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--member", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--dies", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.member:
        return member(args.member, args.dies)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        curves = {"one process": losses(folder / "one", 1), "two": losses(folder / "two", 2)}
        lost = losses(folder / "killed", 2, dies=True)
        resumed = losses(folder / "killed", 2)[len(lost) :]
    curves |= {"two, killed": lost, "two, gone on": resumed}
    told = {"command": "python data/experiments/two_processes.py", "torch": torch.__version__}
    told |= {"saved at": SAVED_AT, "killed at": KILLED_AT, "curves": curves}
    (HERE / "two_processes.json").write_text(json.dumps(told) + "\n", "utf-8")
    one = dict(curves["one process"])
    for name, curve in curves.items():
        far = max(abs(loss - one[step]) for step, loss in curve)
        print(f"{name:14}{len(curve):4} steps, at most {far:.1e} from one process")


if __name__ == "__main__":
    main()
