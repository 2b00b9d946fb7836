"""Several processes that train one model together, through Hugging Face Accelerate.

    accelerate launch --multi_gpu -m boringfusion_lite.train unet       # a process for each GPU
    torchrun --nproc-per-node 2 -m boringfusion_lite.train unet         # two on a CPU, without MPI

Each process holds the whole model. All draw the same batch for a step, cut it into equal shares and
compute the gradient of their own; the mean of those is the gradient of the batch, so that all make
the same step (PyTorch's DistributedDataParallel does the averaging). However many they are, the run
is the same: the same samples in the same order, and the losses of one process but for rounding.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, nn

from .runtime import pick_device

COUNTS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE")  # how launchers say how many there are


class Alone:
    """What training asks of an Accelerator, answered for a process that has no company."""

    num_processes, process_index, is_main_process = 1, 0, True

    def __init__(self, device: torch.device | str = "cpu"):
        self.device = torch.device(device)

    def prepare_model(self, model: nn.Module) -> nn.Module:
        return model

    def no_sync(self, model: nn.Module) -> AbstractContextManager:
        return nullcontext()

    def local_main_process_first(self) -> AbstractContextManager:
        return nullcontext()

    def reduce(self, value: Tensor, reduction: str) -> Tensor:
        return value

    def gather(self, rows: Tensor) -> Tensor:
        return rows

    def wait_for_everyone(self) -> None:
        pass

    def end_training(self) -> None:
        pass


def find_team(device: str | None = None) -> Alone:
    """The processes that were launched together with this one: an Accelerator, or Alone.

    device: "cpu", "cuda" or "mps"; without it, the GPU where there is one. An Accelerator gives
    each process a GPU of its own. ModuleNotFoundError where several processes lack Accelerate.
    """
    chosen = pick_device(device)[0]
    if all(int(os.environ.get(name, 1)) == 1 for name in COUNTS):
        return Alone(chosen)
    try:
        from accelerate import Accelerator, InitProcessGroupKwargs
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Several processes train together through Hugging Face Accelerate, which is not "
            'installed: pip install -e ".[train]". A single process does without it.'
        ) from error
    patience = InitProcessGroupKwargs(timeout=timedelta(hours=3))  # while one draws for the others
    return Accelerator(
        cpu=chosen.type == "cpu",
        mixed_precision="no",  # the recipes see to it
        kwargs_handlers=[patience],
    )


def told_by_main(team: Alone, number: float) -> float:
    """The main process's number, in all processes: what it measures, all go by."""
    if team.num_processes == 1:
        return number
    mine = number if team.is_main_process else 0.0
    return team.reduce(torch.tensor(mine, dtype=torch.float64, device=team.device), "sum").item()


@dataclass(frozen=True)
class Share:
    """The part of a batch that a process computes at a time, which may be one of several pieces."""

    team: Alone = Alone()
    piece: int = 0
    pieces: int = 1

    def __call__(self, whole):
        """This share of a tensor, an array or a list: cut along the first axis, in equal parts.

        ValueError where that does not come out even.
        """
        number, parts = self.team.process_index * self.pieces + self.piece, self.total
        size, rest = divmod(len(whole), parts)
        if rest or not size:
            raise ValueError(
                f"A batch of {len(whole)} cannot be cut into {parts} equal shares, one for each of "
                f"{self.team.num_processes} processes times {self.pieces} pieces (--accumulate): "
                "choose another --batch."
            )
        return whole[number * size : (number + 1) * size]

    @property
    def total(self) -> int:
        """How many shares make up the batch."""
        return self.team.num_processes * self.pieces

    def gather(self, own: Tensor) -> Tensor:
        """The rows of all processes, in the order of the batch, for losses that compare samples.

        Gradients reach the process's own rows, times the number of processes: every process then
        computes the whole loss, and the mean over processes takes that factor away again.
        ValueError where a batch comes in several pieces, since the other pieces are not there.
        """
        if self.pieces > 1:
            raise ValueError(
                "This loss compares every sample of a batch with all others, so the batch cannot "
                "be computed in pieces: leave out --accumulate, or choose a smaller --batch."
            )
        if self.team.num_processes == 1:
            return own
        count, rows = self.team.num_processes, list(self.team.gather(own.detach()).split(len(own)))
        rows[self.team.process_index] = own.detach() + count * (own - own.detach())
        return torch.cat(rows)


WHOLE = Share()  # a process on its own, the batch in one piece
