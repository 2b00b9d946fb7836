"""Ten steps of each training give the losses that were recorded: whoever trains gets this model.

    python tests/test_recorded_losses.py        # records them anew, after a change that is meant

In float32, on one thread, on cut-down networks and drawings (tiny_training.py). Two threads change
the losses by less than 1e-6 in ten steps, with a critic by 3e-4: who learns from whom swings up.
"""

import json
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from tiny import TOKENIZER
from tiny_training import AGAIN, LOSSES, draw_pictures, exact_records, new_run

from boringfusion_lite.tokenizer import Tokenizer

RECORD = Path(__file__).with_name("recorded_losses.json")
TOLERANCE = defaultdict(lambda: 1e-4, critic=2e-3)


def ten_losses(name: str, tokenizer: Tokenizer) -> list[float]:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        run = new_run(name, Path(folder), draw_pictures(), tokenizer)
        return [record.loss for record in exact_records(run, patch)]


@pytest.mark.parametrize("name", [*LOSSES, *AGAIN])
def test_ten_steps_give_the_recorded_losses(tokenizer, name):
    recorded = json.loads(RECORD.read_text())
    hint = f"they have changed; if that is meant: {recorded['command']}"
    assert ten_losses(name, tokenizer) == pytest.approx(recorded[name], rel=TOLERANCE[name]), hint


if __name__ == "__main__":
    torch.set_num_threads(1)  # as conftest.py has it
    losses = {name: ten_losses(name, Tokenizer.load(TOKENIZER)) for name in [*LOSSES, *AGAIN]}
    command = {"command": "python tests/test_recorded_losses.py"}
    RECORD.write_text(json.dumps(command | losses, indent=1) + "\n")
