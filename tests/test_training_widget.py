"""A training on show: buttons, interrupts, killed kernels, and no front end at all."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
import torch
from torch import nn

pytest.importorskip("ipywidgets")

from boringfusion_lite import plots  # noqa: E402
from boringfusion_lite.training import Record, Run  # noqa: E402
from boringfusion_lite.widgets.training import (  # noqa: E402
    Training,
    read_records,
    records_file,
    training,
    write_records,
)

MODULE = sys.modules["boringfusion_lite.widgets.training"]


class Line(nn.Module):
    """One number that learns to be 3; a step takes `seconds`."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))


def new_run(folder, seconds=0.01, minutes=0.5 / 60) -> Run:
    line = Line()

    def loss(step, progress, share):
        time.sleep(seconds)
        return (line.weight - 3).square(), 4

    return Run("line", line, loss, folder, minutes, learning_rate=0.1, warm_up=1)


def sample() -> bytes:
    assert not torch.is_grad_enabled()
    return plots.strip([torch.zeros(8, 8)], side=8)


def test_it_trains_to_the_end_and_returns_every_step(tmp_path):
    records = asyncio.run(training(new_run(tmp_path), sample))
    assert [r.step for r in records] == list(range(1, len(records) + 1)) and len(records) > 5
    assert records[-1].seconds >= 0.5 and records[-1].loss < records[0].loss
    assert (tmp_path / "line.pt").exists() and records_file(new_run(tmp_path)).exists()


def test_it_trains_where_a_page_has_switched_gradients_off(tmp_path):
    with torch.no_grad():
        assert asyncio.run(training(new_run(tmp_path), sample))


def test_a_finished_run_is_shown_at_once_with_its_whole_curve(tmp_path):
    first, drawn = asyncio.run(training(new_run(tmp_path), sample)), []
    panel = Training(new_run(tmp_path), lambda: drawn.append(1) or sample(), 15, {})
    began = time.monotonic()
    asyncio.run(panel.go())
    assert panel.records == first and drawn == [1] and time.monotonic() - began < 2
    assert "finished" in panel.status.value and panel.bar.value == 1


def test_samples_are_drawn_before_now_and_then_and_at_the_end(tmp_path):
    drawn = []
    asyncio.run(training(new_run(tmp_path), lambda: drawn.append(1) or sample(), every=0.2))
    assert 3 <= len(drawn) <= 6


def wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_pause_stands_still_saves_and_resume_goes_on(tmp_path):
    panel = Training(new_run(tmp_path, minutes=1 / 60), sample, 15, {})

    async def reader():
        while panel.run.step < 3:
            await asyncio.sleep(0.01)
        panel.pause.click()
        while "paused" not in panel.status.value:
            await asyncio.sleep(0.01)
        step = panel.run.step
        assert new_run(tmp_path).step == step  # the checkpoint holds all of it
        assert panel.pause.disabled and not panel.resume.disabled
        await asyncio.sleep(0.2)
        assert panel.run.step == step and panel.run.progress < 1
        panel.resume.click()

    async def both():
        await asyncio.wait_for(asyncio.gather(panel.go(), reader()), 30)

    asyncio.run(both())
    assert panel.run.progress == 1 and len(panel.records) == panel.run.step
    assert panel.pause.disabled and panel.resume.disabled


def test_an_interrupt_waits_for_the_step_saves_and_stops_the_page(tmp_path):
    run, whole = new_run(tmp_path, minutes=5), []
    inner = run.loss

    def loss(*args):
        if len(whole) == 5:
            signal.raise_signal(signal.SIGINT)
        whole.append(1)
        return inner(*args)

    run.loss = loss
    before = signal.getsignal(signal.SIGINT)
    panel = Training(run, sample, 15, {})
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(panel.go())
    assert signal.getsignal(signal.SIGINT) is before
    assert len(whole) == run.step == 6 == new_run(tmp_path).step == len(panel.records)
    assert "run the cell again" in panel.status.value
    again = Training(new_run(tmp_path, minutes=run.seconds / 60 + 0.005), sample, 15, {})
    asyncio.run(again.go())
    assert [r.step for r in again.records] == list(range(1, again.run.step + 1))


def test_an_interrupt_ends_a_pause(tmp_path):
    panel = Training(new_run(tmp_path, minutes=5), sample, 15, {})
    panel.pause.click()
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(panel.go())
    assert panel.run.step == 1 == new_run(tmp_path).step


def test_what_draw_raises_comes_out(tmp_path):
    def broken():
        raise ValueError("no picture")

    with pytest.raises(ValueError, match="no picture"):
        asyncio.run(training(new_run(tmp_path), broken))


def test_a_curve_ends_where_its_checkpoint_does(tmp_path):
    file = tmp_path / "x-losses.json"
    records = [Record(n, 1 / n, 1e-3, n / 10, 4 * n) for n in range(1, 9)]
    write_records(file, records)
    assert read_records(file, 100) == records and read_records(file, 5) == records[:5]
    assert read_records(tmp_path / "none.json", 5) == []


KILLED = """
import asyncio
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from boringfusion_lite.widgets import training
from test_training_widget import MODULE, new_run, sample
MODULE.SAVE_EVERY = MODULE.REDRAW = 0.2
asyncio.run(training(new_run(Path({folder!r}), minutes=5), sample))
"""


def test_a_killed_process_goes_on_from_its_checkpoint(tmp_path):
    tests = os.path.dirname(__file__)
    code = textwrap.dedent(KILLED).format(tests=tests, folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: (tmp_path / "line.pt").exists() or process.poll() is not None, 60)
        time.sleep(1)
    finally:
        process.kill()
        process.wait()
    run = new_run(tmp_path)
    assert run.step > 0
    run.minutes = run.seconds / 60 + 0.005
    records = asyncio.run(training(run, sample))
    steps = [r.step for r in records]
    assert steps == sorted(set(steps)) and steps[0] == 1 and steps[-1] == run.step
    assert records[-1].loss < records[0].loss


# ---- in a kernel, as JupyterLab and nbclient use it ----------------------------------------------

CELL = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from boringfusion_lite import widgets
from test_training_widget import new_run, sample
run = new_run(Path({folder!r}), minutes={minutes})
records = await widgets.training(run, sample)
"""


def cell(folder, seconds) -> str:
    tests = os.path.dirname(__file__)
    return CELL.format(tests=tests, folder=str(folder), minutes=seconds / 60)


def test_without_a_front_end_two_pictures_stay_in_the_page(tmp_path):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    cells = [cell(tmp_path, 0.5), "print(len(records) == run.step, run.progress)"]
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in cells])
    nbclient.NotebookClient(page, timeout=180, startup_timeout=180, kernel_name="python3").execute()
    (shown,) = page.cells[0].outputs
    assert shown.data["text/html"].count('<img alt="') == 2
    assert "application/vnd.jupyter.widget-view+json" not in shown.data
    assert page.cells[1].outputs[0].text == "True 1.0\n"


class Kernel:
    """A kernel to talk to as JupyterLab does: widgets are found by what they say."""

    def __init__(self, client):
        self.client, self.comms = client, {}

    def run(self, code: str) -> str:
        """Start a cell; the id of its request."""
        return self.client.execute(code)

    def read_until(self, wanted, seconds=120):
        """Read what the kernel publishes until `wanted(message)` holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            message = self.client.get_iopub_msg(timeout=seconds)
            content = message["content"]
            if message["msg_type"] == "comm_open":
                self.comms[content["comm_id"]] = content["data"]["state"]
            if wanted(message):
                return message
        raise AssertionError("not published in time")

    def new_subshell(self) -> str:
        message = self.client.session.msg("create_subshell_request")
        self.client.control_channel.send(message)
        return self.client.get_control_msg(timeout=60)["content"]["subshell_id"]

    def click(self, label: str, subshell: str) -> None:
        (comm,) = (i for i, state in self.comms.items() if state.get("description") == label)
        data = {"method": "custom", "content": {"event": "click"}}
        message = self.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
        message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)


@pytest.fixture
def kernel():
    client = pytest.importorskip("jupyter_client")
    manager, talker = client.manager.start_new_kernel(kernel_name="python3", startup_timeout=180)
    try:
        features = talker.kernel_info(reply=True, timeout=120)["content"].get("supported_features")
        if "kernel subshells" not in (features or []):
            pytest.skip("this ipykernel has no subshells")
        yield Kernel(talker), manager
    finally:
        talker.stop_channels()
        manager.shutdown_kernel(now=True)


def says(text: str):
    return lambda m: text in str(m["content"].get("data", {}).get("state", {}).get("value", ""))


def test_the_buttons_work_while_the_cell_trains(kernel, tmp_path):
    kernel, manager = kernel
    request = kernel.run(cell(tmp_path, 300))
    kernel.read_until(says(": training"))
    subshell = kernel.new_subshell()
    kernel.click("pause", subshell)
    kernel.read_until(says("paused, and saved"))
    kernel.click("resume", subshell)
    kernel.read_until(says(": training"))
    manager.interrupt_kernel()
    error = kernel.read_until(lambda m: m["msg_type"] == "error")
    assert error["parent_header"]["msg_id"] == request
    assert error["content"]["ename"] == "KeyboardInterrupt"
    run = new_run(tmp_path)
    assert run.step == len(read_records(records_file(run), run.step)) > 0
