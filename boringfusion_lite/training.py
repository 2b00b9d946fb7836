"""The training loop: any model, any loss, a budget of minutes, and nothing lost on interruption.

`recipes.py` holds what the three networks learn, `train.py` the commands that start it,
`processes.py` how several processes share one run.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from .processes import Alone, Share, find_team, told_by_main

# (step, progress, share) -> the mean loss of that share of the step's batch, samples in the batch
Loss = Callable[[int, float, Share], tuple[Tensor, int]]


@dataclass(frozen=True)
class Record:
    """What one training step tells: its number, loss, learning rate, and seconds spent so far."""

    step: int
    loss: float
    learning_rate: float
    seconds: float
    samples: int


class MovingAverage:
    """An exponential moving average of a model's weights, steadier than the weights themselves.

    The decay warms up as (1 + step) / (10 + step), so that a short run is not dominated by its
    random start (as in TensorFlow's ExponentialMovingAverage).
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.weights = {name: p.detach().clone() for name, p in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        keep = min(self.decay, (1 + step) / (10 + step))
        current = model.state_dict()
        torch._foreach_lerp_(
            list(self.weights.values()), [current[name] for name in self.weights], 1 - keep
        )


@dataclass
class Run:
    """One training run: a model, its loss, and where and how long to train.

    With `accumulate` each process computes its share of a batch in so many pieces, one after the
    other, in as much less memory (CLIP's pairs excepted, see `joint.py`); what is learned stays the
    same.
    """

    name: str
    model: nn.Module
    loss: Loss
    folder: Path
    minutes: float
    learning_rate: float
    slower: tuple[str, ...] = ()  # parameter prefixes that learn at half the rate
    warm_up: int = 100
    ema: float = 0.999
    save_every: float = 180.0  # seconds
    accumulate: int = 1
    about: dict = field(default_factory=dict)  # what the checkpoint belongs to; another is refused
    team: Alone = field(default_factory=find_team)

    def __post_init__(self):
        fast = [p for n, p in self.named_trainable() if not n.startswith(self.slower)]
        slow = [p for n, p in self.named_trainable() if self.slower and n.startswith(self.slower)]
        groups = [{"params": fast, "rate": 1.0}, {"params": slow, "rate": 0.5}]
        self.optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=self.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=0.01,
            fused=True,  # one pass over all weights: ten times as fast on a CPU
        )
        self.average = MovingAverage(self.model, self.ema)
        self.step, self.samples, self.seconds = 0, 0, 0.0
        if self.checkpoint.exists():
            self.resume()
        if (first := told_by_main(self.team, self.step)) != self.step:
            raise RuntimeError(
                f"The first process goes on from step {first:.0f}, this one from {self.step}: all "
                f"machines must see the same {self.folder.resolve()}, on a disk that they share."
            )
        self.objective = self.team.prepare_model(Objective(self))

    def named_trainable(self) -> list[tuple[str, nn.Parameter]]:
        return [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]

    @property
    def checkpoint(self) -> Path:
        return self.folder / f"{self.name}.pt"

    @property
    def progress(self) -> float:
        """Share of the minutes that is spent, 0 to 1."""
        return min(1.0, self.seconds / (60 * self.minutes))

    def save(self) -> None:
        """Write the checkpoint; the old one stays until the new one is complete."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "model": self.model.state_dict(),
            "average": self.average.weights,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "samples": self.samples,
            "seconds": self.seconds,
            "about": self.about,
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def resume(self) -> None:
        """Continue from the checkpoint: weights, average, optimiser and counters.

        ValueError where it belongs to another training.
        """
        device = next(self.model.parameters()).device
        state = torch.load(self.checkpoint, map_location=device, weights_only=True)
        check_company(self.checkpoint, state, self.about)
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:  # other names or shapes, other groups
            raise ValueError(
                f"{self.checkpoint} was made by another training, with other options or another "
                "version. Repeat its options, or delete it, or choose another --runs."
            ) from error
        self.average.weights = state["average"]
        self.step, self.samples, self.seconds = state["step"], state["samples"], state["seconds"]

    def rate(self) -> float:
        """Learning rate now: a linear warm-up, then a cosine from full to 2 %."""
        warm = min(1.0, (self.step + 1) / self.warm_up)
        cosine = 0.51 + 0.49 * math.cos(math.pi * self.progress)
        return self.learning_rate * warm * cosine

    def gradient(self) -> tuple[float, int]:
        """Leave the gradient of the step's batch in the weights; its loss and its samples."""
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for piece in range(self.accumulate):
            last = piece == self.accumulate - 1  # with it, the mean over all processes is taken
            with nullcontext() if last else self.team.no_sync(self.objective):
                share = Share(self.team, piece, self.accumulate)
                loss, samples = self.objective(share)
                (loss / self.accumulate).backward()
            total = total + loss.detach() / self.accumulate
        return self.team.reduce(total, "mean").item(), samples

    def train(self) -> Iterator[Record]:
        """Train until the minutes are spent, yielding a Record a step; saves as it goes.

        Every process takes the same steps, by the clock of the first, which also keeps the average
        and writes the checkpoints.
        """
        saved, self.model = time.monotonic(), self.model.train()
        while self.progress < 1:
            began, rate = time.monotonic(), self.rate()
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group["rate"]
            loss, samples = self.gradient()
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"the loss of {self.name} is {loss} at step {self.step}; the last good "
                    f"state is in {self.checkpoint}. Lower the learning rate and start again."
                )
            nn.utils.clip_grad_norm_([p for _, p in self.named_trainable()], 1.0)
            self.optimizer.step()
            if self.team.is_main_process:
                self.average.update(self.model, self.step)
            self.step, self.samples = self.step + 1, self.samples + samples
            spent = self.seconds + time.monotonic() - began
            self.seconds = told_by_main(self.team, spent)
            late = time.monotonic() - saved > self.save_every or self.progress >= 1
            if late and self.team.is_main_process:
                self.save()
                saved = time.monotonic()
            yield Record(self.step, loss, rate, self.seconds, self.samples)


def check_company(file: Path, state: dict, about: dict) -> None:
    """ValueError where a checkpoint is about something else, such as the latents of another VAE."""
    if (held := state.get("about", {})) != about:
        raise ValueError(
            f"{file} belongs to {held}, and is now to go with {about}. Repeat the options that it "
            "was trained with (--start-from, --world), or delete it, or choose another --runs."
        )


class Objective(nn.Module):
    """The loss of a run as a module around its model: what is spread over processes.

    DistributedDataParallel takes the mean of gradients that began with its own forward pass.
    """

    def __init__(self, run: Run):
        super().__init__()
        self.model, self.run = run.model, run

    def forward(self, share: Share) -> tuple[Tensor, int]:
        return self.run.loss(self.run.step, self.run.progress, share)
