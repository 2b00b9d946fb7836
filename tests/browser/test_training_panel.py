"""Pause, resume and Interrupt in a real browser while a cell trains."""

import json
from pathlib import Path

import pytest
from jupyter_lab import IDLE, TOKEN

pytestmark = [pytest.mark.browser, pytest.mark.slow]
RUN = "() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }"
CELL = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from boringfusion_lite import widgets
from test_training_widget import new_run, sample
run = new_run(Path("runs"), minutes={minutes})
records = await widgets.training(run, sample)
"""


@pytest.fixture
def page(lab, chromium):
    address, folder = lab
    cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    source = CELL.format(tests=str(Path(__file__).resolve().parents[1]), minutes=10)
    notebook = {"cells": [cell | {"id": "a", "source": source}], "metadata": {}}
    notebook |= {"nbformat": 4, "nbformat_minor": 5}
    notebook["metadata"]["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    (folder / "training.ipynb").write_text(json.dumps(notebook), "utf-8")
    page = chromium.new_page(viewport={"width": 1400, "height": 1000})
    page.goto(f"{address}/lab/workspaces/tr/tree/training.ipynb?token={TOKEN}")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=120_000)
    page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.isReady")
    page.evaluate(RUN)  # and do not wait for its end
    yield page
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.close()


def test_pause_resume_and_interrupt(page):
    says = page.locator(".widget-vbox .widget-html").first
    pause, resume = (
        page.get_by_role("button", name=name, exact=True) for name in ("pause", "resume")
    )
    wait = {"timeout": 60_000}
    says.filter(has_text=": training").wait_for(**wait)
    assert resume.is_disabled()
    pause.click()
    says.filter(has_text="paused, and saved").wait_for(**wait)
    told = says.inner_text()
    page.wait_for_timeout(1500)
    assert says.inner_text() == told and pause.is_disabled()
    resume.click()
    says.filter(has_text=": training").wait_for(**wait)
    page.evaluate("window.jupyterapp.commands.execute('notebook:interrupt-kernel')")
    says.filter(has_text="run the cell again to go on").wait_for(**wait)
    page.wait_for_function(IDLE, timeout=120_000)
    assert "KeyboardInterrupt" in page.locator(".jp-OutputArea").first.inner_text()
