"""Several processes that train one model: the same curve as one process, killed and resumed."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_training import LOSSES, draw_pictures, exact_records, new_run

import boringfusion_lite as bf
from boringfusion_lite.processes import WHOLE, Alone, Share, find_team
from boringfusion_lite.training import Run

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def pictures():
    return draw_pictures()


def launch(folder: Path, *scenes: str) -> list[int]:
    """Run together.py in two processes, as a launcher does it; their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)]),
    }
    command = [sys.executable, HERE / "together.py", folder, *scenes]
    started = [
        subprocess.Popen(command, env={**settings, "RANK": str(i), "LOCAL_RANK": str(i)})
        for i in range(2)
    ]
    try:
        return [process.wait(timeout=240) for process in started]
    finally:
        for process in started:
            process.kill()


def said(folder: Path, scene: str) -> dict:
    """What both processes said of a scene: the same, to the last digit."""
    first, second = (json.loads((folder / f"{scene}-{i}.json").read_text()) for i in range(2))
    assert first == second
    return first


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Four whole curves by two processes, then a run of the UNet in which the first one dies."""
    folder = tmp_path_factory.mktemp("together")
    codes = launch(folder, "curves", "killed")
    assert codes[0] == -9 and codes[1] != 0
    return folder


@pytest.fixture(scope="module")
def mended(broken):
    """That run goes on from its checkpoint; then all commands, by two processes too."""
    partial = broken / "broken" / "unet.partial"
    assert partial.read_bytes() == b"half a checkpoint"
    assert launch(broken, "resumed", "everything") == [0, 0]
    return broken


@pytest.mark.parametrize("name", [*LOSSES, "pieces"])
def test_two_processes_have_the_curve_of_one(
    broken, pictures, tokenizer, tmp_path, monkeypatch, name
):
    run = new_run("unet" if name == "pieces" else name, tmp_path, pictures, tokenizer)
    records, theirs = exact_records(run, monkeypatch), said(broken, "curves")[name]
    ours = [record.loss for record in records]
    assert len(ours) == 10 and abs(ours[-1] - ours[0]) > 0.01
    assert theirs["losses"] == pytest.approx(ours, rel=1e-5)
    assert theirs["samples"] == [record.samples for record in records]


def test_killed_while_it_saves_and_resumed(mended):
    """Nothing is lost but the steps since the last whole checkpoint, and they are made again."""
    whole, rest = said(mended, "curves")["unet"], said(mended, "resumed")
    assert 1 <= rest["step"] < 9
    assert rest["losses"] == whole["losses"][rest["step"] :]
    assert rest["weights"] == whole["weights"]
    ours, theirs = (
        torch.load(at / "unet.pt", weights_only=True)["average"]
        for at in (mended / "broken", mended / "curves")
    )
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())


def test_all_commands_by_two_processes(mended):
    sd = bf.load(mended / "model")
    assert sd("photo of a couch", steps=1).size == (64, 64)
    assert not (mended / "rehearsal").exists()


LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--nproc-per-node", "2"],
    "accelerate launch": ["accelerate.commands.launch", "--cpu", "--num_processes", "1"],
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_the_commands_follow_a_launcher(launcher, tmp_path):
    """As the docstring of processes.py and page 11 say, with nothing set up by hand."""
    options = ["vae", "--pictures", "16", "--batch", "2", "--minutes", "0.1", "--device", "cpu"]
    command = [sys.executable, "-m", *LAUNCHERS[launcher], "-m", "boringfusion_lite.train"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
    run = subprocess.run(
        [*command, *options, "--runs", str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    state = torch.load(tmp_path / "vae.pt", weights_only=True)
    assert state["step"] > 1 and state["seconds"] >= 6
    assert run.stderr.count("vae:   0%") == 1  # one process shows a bar


# ---- one process ---------------------------------------------------------------------------------


class Member(Alone):
    """One of several processes, as far as cutting goes."""

    def __init__(self, number: int, count: int):
        super().__init__()
        self.process_index, self.num_processes = number, count


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_the_shares_of_all_processes_are_the_batch(count, pieces, size):
    batch = list(range(count * pieces * size))
    members = [Member(number, count) for number in range(count)]
    shares = [Share(member, piece, pieces) for member in members for piece in range(pieces)]
    assert [sample for share in shares for sample in share(batch)] == batch
    assert all(len(share(torch.tensor(batch))) == size for share in shares)


def test_a_batch_that_cannot_be_shared_out_is_refused():
    for batch in (range(6), range(2)):
        with pytest.raises(ValueError, match="4 equal shares.*2 processes times 2 pieces"):
            Share(Member(0, 2), pieces=2)(batch)


@pytest.mark.parametrize("name", ["vae", "unet", "vae-again"])
def test_pieces_have_the_curve_of_the_whole(pictures, tokenizer, tmp_path, monkeypatch, name):
    whole, pieces = (
        exact_records(
            new_run(name, tmp_path / str(n), pictures, tokenizer, 5, accumulate=n), monkeypatch
        )
        for n in (1, 4)
    )
    assert [r.loss for r in pieces] == pytest.approx([r.loss for r in whole], rel=1e-5)
    assert [r.samples for r in pieces] == [r.samples for r in whole]


def test_contrast_needs_the_whole_batch(pictures, tokenizer, tmp_path):
    run = new_run("clip", tmp_path, pictures, tokenizer, accumulate=2)
    with pytest.raises(ValueError, match="leave out --accumulate"):
        next(run.train())


def test_gathered_rows_carry_the_gradient_of_all(monkeypatch):
    """Two members of a team by hand: the mean of their gradients is that of the whole loss."""
    rows, weight = torch.randn(4, 3), torch.randn(3, 3, requires_grad=True)

    def loss(vectors):
        return (vectors @ vectors.T).logsumexp(dim=1).sum()

    expected = torch.autograd.grad(loss(rows @ weight), weight)[0]
    gradients = []
    for number in range(2):
        member = Member(number, 2)
        monkeypatch.setattr(member, "gather", lambda own: (rows @ weight).detach(), raising=False)
        share = Share(member)
        gathered = share.gather(share(rows) @ weight)
        torch.testing.assert_close(gathered, rows @ weight)
        gradients.append(torch.autograd.grad(loss(gathered), weight)[0])
    torch.testing.assert_close(sum(gradients) / 2, expected)


def test_a_single_process_does_without_accelerate(pictures, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    run = new_run("unet", tmp_path, pictures, tokenizer, steps=1)
    assert type(run.team) is Alone and len(exact_records(run, monkeypatch)) == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ModuleNotFoundError, match=r'pip install -e "\.\[train\]"'):
        find_team("cpu")


def test_all_machines_must_see_the_checkpoint(tmp_path):
    """The first process resumed at step 7, this one found nothing."""

    class Second(Member):
        def reduce(self, value, reduction):
            return value + 7

    with pytest.raises(RuntimeError, match="from step 7, this one from 0.*disk that they share"):
        Run("line", torch.nn.Linear(1, 1), None, tmp_path, 1, 1e-3, team=Second(1, 2))


def test_the_whole_is_a_share_too():
    assert WHOLE([1, 2, 3]) == [1, 2, 3]
