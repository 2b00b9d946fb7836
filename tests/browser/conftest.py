"""What the browser tests share: a JupyterLab of their own, and pages run in a real Chromium."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from boringfusion_lite.runtime import bundled_folder, model_folder

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "studio"
BROWSERS = ["chromium", "chromium-browser", "google-chrome", "chrome"]
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
QUIET = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}
CHECKSUM = """async image => {
    const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
    return bytes.reduce((sum, byte) => (sum * 31 + byte) % 1000000007, 7);
}"""


def missing() -> str:
    """What keeps these tests from running here; "" for nothing."""
    if CHROMIUM is None:
        return "no Chromium or Chrome on this machine"
    if not os.environ.get("BORINGFUSION_MODEL") and not (bundled_folder() / "unet").is_dir():
        return "no model weights: data/tiny-sd has no unet, and BORINGFUSION_MODEL is not set"
    return ""


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """A JupyterLab of its own on copies of the notebooks: its address, and their folder."""
    pytest.importorskip("jupyterlab")
    if reason := missing():
        pytest.skip(reason)
    home = tmp_path_factory.mktemp("lab")
    pages, settings = home / "pages", home / "settings"
    shutil.copytree(ROOT / "notebooks", pages)
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


@pytest.fixture(scope="session")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api")
    if reason := missing():
        pytest.skip(reason)
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(request, lab, chromium):
    """The notebook that the module or its parameter names, in Chromium, after "run all"."""
    address, folder = lab
    name = getattr(request, "param", None) or request.module.NOTEBOOK
    if extra := getattr(request.module, "EXTRA_CELL", ""):
        append(folder / name, extra)
    page = chromium.new_page(viewport={"width": 1400, "height": 1000})
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


def append(path: Path, source: str) -> None:
    """Put a code cell at the end of a notebook."""
    notebook = json.loads(path.read_text("utf-8"))
    cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    notebook["cells"].append(cell | {"id": "extra", "source": source})
    path.write_text(json.dumps(notebook), "utf-8")


@pytest.fixture
def widgets(page):
    """Every group of controls with a picture: the studio, and what `widgets.live` made."""
    return page.locator(".widget-vbox", has=page.locator(".widget-image"))


@pytest.fixture
def shown():
    """A number that stands for the bytes of a widget's picture."""
    return lambda widget: widget.locator(".widget-image").evaluate(CHECKSUM)
