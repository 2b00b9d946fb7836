"""One of the processes that train together in test_accelerate.py; each scene is written to a file.

    python together.py FOLDER SCENE ...     # in the environment that a launcher gives each process

A launcher (accelerate launch, torchrun) says with environment variables who and how many they are.
"""

import json
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

import torch
from tiny import TOKENIZER
from tiny_training import CONFIGS, LOSSES, draw_pictures, new_run, ticking_clock

from boringfusion_lite import recipes, train_all, training
from boringfusion_lite.dataset import Pictures
from boringfusion_lite.processes import find_team
from boringfusion_lite.tokenizer import Tokenizer


def told(run) -> dict:
    """Train to the end: losses, seconds, and a sum that differs where weights do."""
    records = list(run.train())
    return {
        "losses": [record.loss for record in records],
        "seconds": [record.seconds for record in records],
        "samples": [record.samples for record in records],
        "weights": sum(w.double().abs().sum().item() for w in run.model.state_dict().values()),
    }


def curves(folder: Path, pictures, tokenizer) -> dict:
    """Ten steps of each training, of the UNet's also in two pieces a process."""
    runs = folder / "curves"
    seen = {name: told(new_run(name, runs, pictures, tokenizer)) for name in LOSSES}
    pieces = new_run("unet", runs / "pieces", pictures, tokenizer, accumulate=2)
    return {**seen, "pieces": told(pieces)}


def killed(folder: Path, pictures, tokenizer) -> dict:
    """The first process dies while it writes its second checkpoint; the other cannot go on."""
    write, written = torch.save, []

    def dies(state, path):
        if written:
            path.write_bytes(b"half a checkpoint")
            os.kill(os.getpid(), signal.SIGKILL)
        written.append(write(state, path))

    torch.save = dies
    return told(new_run("unet", folder / "broken", pictures, tokenizer, save_every=6))


def resumed(folder: Path, pictures, tokenizer) -> dict:
    run = new_run("unet", folder / "broken", pictures, tokenizer)
    return {"step": run.step, **told(run)}


def everything(folder: Path, pictures, tokenizer) -> dict:
    """All commands in a row."""
    for name, config in CONFIGS.items():
        setattr(recipes, name, config)
    Pictures.drawn = lambda *args: pictures
    train_all.STEPS = 2
    options = ["--device", "cpu", "--batch", "4", "--minutes", str(6 / 60)]
    train_all.main([*options, "--runs", str(folder), "--output", str(folder / "model")])
    return {}


def main(folder: Path, *scenes: str) -> None:
    torch.set_num_threads(1)
    training.time = ticking_clock(1 + int(os.environ["RANK"]))  # the first decides
    recipes.mixed_precision = lambda device: nullcontext()  # so that rounding is all that differs
    find_team("cpu")
    pictures, tokenizer = draw_pictures(), Tokenizer.load(TOKENIZER)
    for scene in scenes:
        seen = globals()[scene](folder, pictures, tokenizer)
        (folder / f"{scene}-{os.environ['RANK']}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
