"""Train Tiny SD from nothing: an estimate, then the four commands of `train.py` in their order.

    python -m boringfusion_lite.train_all          # or: make train

It begins with a rehearsal: a few steps of each training on a few pictures, in a folder of its own.
That brings to light what does not work on this machine before hours are spent, and how fast it is.
The budgets are minutes, so the time is known beforehand; what depends on the machine is how many
samples the networks see in it, and with that how good they become.
"""

import argparse
import shutil
from itertools import islice
from pathlib import Path

import torch

from .dataset import Pictures
from .processes import find_team
from .train import RUNS, add_options, draw, publish, start, watch
from .training import Run

STEPS = 4  # of each training in the rehearsal; the first, slower than all others, is not timed
BUNDLED_SAW = {  # samples, from the model card in data/tiny-sd
    "vae": 31_320,
    "clip": 91_648,
    "unet": 522_816,
}
WHAT_TO_EXPECT = """\
The bundled model had about these minutes on two cores of an AMD EPYC, and 135 more for CLIP and the
decoder alone: its README.md tells how, and its scores.
Fewer samples make worse pictures: a quarter of the unet's brought colours, but hardly a thing.
A slower machine wants more time: --minutes sets the sum of all three.
"""
AFTERWARDS = """\
What stands beside the model still tells of the weights before it. If they were data/tiny-sd:
  python -m boringfusion_lite.evaluate      data/tiny-sd/scores.json
  python data/tell_scores.py                the tables of README.md and of the model card
  python data/make_contact_sheet.py         data/contact_sheet.jpg
  python data/measure_emphasis.py           data/emphasis.json, for notebook 02
  python data/measure_sweeps.py             data/sweeps.json, for notebook 12
  python data/teach_heart.py                data/heart, for notebook 08
  make notebooks
"""


def part(what: str, pictures: Pictures, args: argparse.Namespace) -> Run:
    """The run of one part; CLIP, which compares all pairs of a batch, keeps them in one piece."""
    pieces = 1 if what == "clip" else args.accumulate
    return start(what, pictures, argparse.Namespace(**vars(args) | {"accumulate": pieces}))


def rehearse(args: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """A few steps of each training: its usual budget in minutes, and samples a second here."""
    team, measured = find_team(args.device), {}
    folder = args.runs / "rehearsal"
    with team.local_main_process_first():
        shutil.rmtree(folder, ignore_errors=True)
    few = max(256, 4 * (args.batch or 0))
    few = argparse.Namespace(**vars(args) | {"runs": folder, "pictures": few, "minutes": None})
    pictures = draw(few)
    for what in RUNS:
        run = part(what, pictures, few)
        first, *_, last = islice(run.train(), STEPS)
        seen, seconds = last.samples - first.samples, last.seconds - first.seconds
        measured[what] = run.minutes, seen / seconds
        if team.is_main_process:
            run.save()  # the next one builds on it
        team.wait_for_everyone()
    if team.is_main_process:
        shutil.rmtree(folder)
    return measured


def spent(file: Path) -> float:
    """Minutes that a checkpoint has trained for already; 0 where there is none."""
    if not file.exists():
        return 0
    return torch.load(file, "cpu", mmap=True, weights_only=True)["seconds"] / 60


def estimate(minutes: dict[str, float], speeds: dict[str, float], args: argparse.Namespace) -> str:
    """How long the trainings take, what they see in that time here, and what to expect of it."""
    left = sum(max(0, minutes[what] - spent(args.runs / f"{what}.pt")) for what in minutes)
    hours, rest = divmod(round(left), 60)
    lines = [
        f"{hours} h {rest:02} min of training from now on, and a few minutes to draw "
        f"{args.pictures:,} pictures.",
        f"Then {args.output} is written. Stop at any time: the same command goes on.",
        "",
        f"{'':12}{'minutes':>9}{'samples here, about':>21}{'the bundled model saw':>23}",
    ]
    for what, budget in minutes.items():
        here = round(speeds[what] * 60 * budget, -3)
        lines.append(f"{what:12}{budget:9.0f}{here:21,.0f}{BUNDLED_SAW[what]:23,}")
    return "\n".join([*lines, "", WHAT_TO_EXPECT])


def main(arguments: list[str] | None = None) -> None:
    """Rehearse, say how long it takes, train the three parts and publish the model."""
    parser = argparse.ArgumentParser(
        prog="python -m boringfusion_lite.train_all",
        description="Train Tiny SD from nothing; interrupt and resume at will. "
        "--minutes is the sum for all parts.",
    )
    add_options(parser)
    parser.add_argument("--estimate", action="store_true", help="say how long it takes, and stop")
    args = parser.parse_args(arguments)
    team = find_team(args.device)
    args.device = team.device
    measured = rehearse(args)
    longer = args.minutes / sum(usual for usual, _ in measured.values()) if args.minutes else 1
    minutes = {what: longer * usual for what, (usual, _) in measured.items()}
    if team.is_main_process:
        print(estimate(minutes, {what: speed for what, (_, speed) in measured.items()}, args))
    if not args.estimate:
        pictures = draw(args)
        for what in RUNS:
            args.minutes = minutes[what]
            watch(part(what, pictures, args))
        if team.is_main_process:
            publish(pictures, args)
            print(AFTERWARDS)
    team.end_training()


if __name__ == "__main__":
    main()
