"""A JupyterLab of its own on copies of the notebooks, and its pages in a real Chromium.

For the tests of this folder, and for benchmarks/sliders.py.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from boringfusion_lite.runtime import bundled_folder, model_folder

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "studio"
BROWSERS = ["chromium", "chromium-browser", "google-chrome", "chrome"]
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
QUIET = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}
IDLE = """() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status == 'idle'
    && document.querySelectorAll('.jp-Notebook .jp-InputPrompt').length > 0
    && ![...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]
        .some(prompt => prompt.textContent.includes('*'))"""


def missing() -> str:
    """What keeps pages from running here; "" for nothing."""
    if CHROMIUM is None:
        return "no Chromium or Chrome on this machine"
    if not os.environ.get("BORINGFUSION_MODEL") and not (bundled_folder() / "unet").is_dir():
        return "no model weights: data/tiny-sd has no unet, and BORINGFUSION_MODEL is not set"
    return ""


@contextmanager
def open_lab(home: Path) -> Iterator[tuple[str, Path]]:
    """Start JupyterLab in an empty folder: its address, and its copies of the notebooks."""
    pages, settings = home / "pages", home / "settings"
    shutil.copytree(ROOT / "notebooks", pages)  # makes home as well
    settings.mkdir()
    (settings / "overrides.json").write_text(json.dumps(QUIET))
    folders = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    env = os.environ | {f"JUPYTER_{name}": str(home / name.lower()) for name in folders}
    env |= {f"JUPYTERLAB_{n}_DIR": str(home / n.lower()) for n in ("SETTINGS", "WORKSPACES")}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    env["BORINGFUSION_MODEL"] = str(model_folder().resolve())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "ip": "127.0.0.1",
        "port": port,
        "ServerApp.port_retries": 0,
        "IdentityProvider.token": TOKEN,
        "ServerApp.root_dir": pages,
        "LabApp.expose_app_in_browser": True,
        "LabApp.app_settings_dir": settings,
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--{name}={value}" for name, value in options.items()]
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=home)
    try:
        wait_for(f"http://127.0.0.1:{port}/api/status?token={TOKEN}", server, home / "log")
        yield f"http://127.0.0.1:{port}", pages
    finally:
        server.terminate()
        server.wait(30)


def wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    """Until the server answers; its log in the error where it does not."""
    for _ in range(240):
        try:
            urllib.request.urlopen(address, timeout=5)
            return
        except OSError:
            assert server.poll() is None, log.read_text()
            time.sleep(0.5)
    raise AssertionError(log.read_text())


@contextmanager
def run_page(browser, address: str, name: str) -> Iterator:
    """A notebook in the browser, after "run all"; its kernel ends with it."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(120_000)
    page.goto(f"{address}/lab/workspaces/{name[:2]}/tree/{name}?token={TOKEN}")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.isReady")
    page.set_default_timeout(600_000)
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.set_default_timeout(60_000)
    yield page
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.close()


def insert(path: Path, source: str, place: int | None = None) -> None:
    """Put a code cell into a notebook, by default at its end."""
    notebook = json.loads(path.read_text("utf-8"))
    cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    cells = notebook["cells"]
    place = len(cells) if place is None else place
    cells.insert(place, cell | {"id": f"extra-{len(cells)}", "source": source})
    path.write_text(json.dumps(notebook), "utf-8")


def step_aside(handle) -> str:
    """The key that moves a slider's handle one stop, away from the end where it stands at one."""
    at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
    return "ArrowLeft" if at_end else "ArrowRight"
