"""What the browser tests share: one JupyterLab, one Chromium, and a page run in it."""

import pytest
from jupyter_lab import CHROMIUM, insert, missing, open_lab, run_page

CHECKSUM = """async image => {
    const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
    return bytes.reduce((sum, byte) => (sum * 31 + byte) % 1000000007, 7);
}"""


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """A JupyterLab of its own on copies of the notebooks: its address, and their folder."""
    pytest.importorskip("jupyterlab")
    if reason := missing():
        pytest.skip(reason)
    with open_lab(tmp_path_factory.mktemp("lab")) as address_and_folder:
        yield address_and_folder


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
        insert(folder / name, extra)
    with run_page(chromium, address, name) as page:
        yield page


@pytest.fixture
def widgets(page):
    """Every group of controls with a picture: the studio, and what `widgets.live` made."""
    return page.locator(".widget-vbox", has=page.locator(".widget-image"))


@pytest.fixture
def shown():
    """A number that stands for the bytes of a widget's picture."""
    return lambda widget: widget.locator(".widget-image").evaluate(CHECKSUM)
