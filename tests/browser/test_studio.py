"""The prompt studio in a real browser: JupyterLab in Chromium, on a copy of the first notebook."""

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
NOTEBOOK = ROOT / "notebooks" / "00_first_image.ipynb"
TOKEN = "studio"
CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser"])), None)
CHECKSUM = """async image => {
    const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
    return bytes.reduce((sum, byte) => (sum * 31 + byte) % 1000000007, 7);
}"""
pytestmark = [pytest.mark.browser, pytest.mark.slow]


def missing() -> str:
    """What keeps this test from running here; "" for nothing."""
    if CHROMIUM is None:
        return "no chromium on this machine"
    if not os.environ.get("BORINGFUSION_MODEL") and not (bundled_folder() / "unet").is_dir():
        return "no model weights: data/tiny-sd has no unet, and BORINGFUSION_MODEL is not set"
    return ""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab of its own that serves a copy of the notebook."""
    pytest.importorskip("jupyterlab")
    if reason := missing():
        pytest.skip(reason)
    home = tmp_path_factory.mktemp("lab")
    (home / "pages").mkdir()
    shutil.copy(NOTEBOOK, home / "pages")
    quiet = {
        "@jupyterlab/apputils-extension:notification": {
            "fetchNews": "false",
            "checkForUpdates": False,
        },
        "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    }
    (home / "settings").mkdir()
    (home / "settings" / "overrides.json").write_text(json.dumps(quiet))
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
        "ServerApp.root_dir": home / "pages",
        "LabApp.expose_app_in_browser": True,
        "LabApp.app_settings_dir": home / "settings",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--{name}={value}" for name, value in options.items()]
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=home)
    try:
        wait_for(f"http://127.0.0.1:{port}/api/status?token={TOKEN}", server, home / "log")
        yield f"http://127.0.0.1:{port}/lab/tree/{NOTEBOOK.name}?token={TOKEN}"
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


@pytest.fixture(scope="module")
def page(lab):
    """The notebook in Chromium, after "run all"."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(120_000)
        page.goto(lab)
        page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.isReady")
        page.set_default_timeout(600_000)
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait_for_selector(".widget-image")
        page.set_default_timeout(120_000)
        yield page
        browser.close()


@pytest.fixture
def studio(page):
    return page.locator(".widget-vbox", has=page.locator(".widget-image")).last


def slider(studio, name: str):
    """The handle of the slider with that label: what the keyboard moves."""
    return studio.locator(".widget-slider", has_text=name).locator(".noUi-handle")


def shown(studio) -> int:
    return studio.locator(".widget-image").evaluate(CHECKSUM)


def test_every_cell_ran(page):
    for trouble in ("stderr", "error"):
        assert page.locator(f".jp-Notebook [data-mime-type*='{trouble}']").count() == 0
    assert page.locator(".jp-Notebook img[alt='']").count() == 0
    assert page.get_by_text("not attempted").count() >= 3


def test_arrow_keys_walk_through_the_steps_without_the_model(page, studio):
    before, status = shown(studio), studio.get_by_text("Shown after").inner_text()
    height = studio.bounding_box()["height"]
    handle = slider(studio, "Look at step")
    handle.focus()
    step = float(handle.get_attribute("aria-valuenow"))
    page.keyboard.press("ArrowRight")
    studio.get_by_text(f"Step {step + 1:.0f} of").wait_for()
    assert shown(studio) != before
    studio.get_by_role("button", name="one step back").click()
    studio.get_by_text(f"Step {step:.0f} of").wait_for()
    assert shown(studio) == before
    assert studio.get_by_text("Shown after").inner_text() == status
    assert studio.bounding_box()["height"] == height


def test_an_unknown_word_is_named_in_place(page, studio):
    height = studio.bounding_box()["height"]
    box = studio.locator("input[type=text]").first
    box.fill("a purple qqxyzzy")
    box.press("Enter")
    bundled = not os.environ.get("BORINGFUSION_MODEL")
    if bundled or "tiny" in os.environ["BORINGFUSION_MODEL"]:
        studio.get_by_text("The model does not know: qqxyzzy").wait_for()
    assert studio.bounding_box()["height"] == height


def test_a_new_seed_draws_a_new_picture(page, studio):
    before, status = shown(studio), studio.get_by_text("Shown after").inner_text()
    slider(studio, "Seed").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "([element, old]) => element.textContent.includes('Shown') && element.textContent != old",
        arg=[studio.get_by_text("Shown after").element_handle(), status],
    )
    assert shown(studio) != before
    studio.get_by_role("button", name="start again").click()
    studio.get_by_text("Step 12 of 20").wait_for()
    assert studio.locator("input[type=text]").first.input_value().startswith("photo of a couch")
