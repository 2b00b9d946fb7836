"""notebooks/run.py: a page that ran is stored small, and the same bytes when nothing changed."""

import runpy
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("ipywidgets")
run = runpy.run_path(str(Path(__file__).parents[1] / "notebooks" / "run.py"))["run"]
TIMED = "from time import perf_counter\nprint(perf_counter())"
WIDGET = """
from boringfusion_lite import widgets
widgets.live(lambda n: b"\\x89PNG", n=widgets.Slider("n", 0, 9, 1, 3))
"""


@pytest.fixture
def page(tmp_path):
    """A page that prints in two goes, shows controls, and tells the time."""
    sources = ["print(1)\nprint(2)", WIDGET, TIMED, "Text."]
    cells = [nbformat.v4.new_code_cell(source) for source in sources[:3]]
    cells[2].metadata["tags"] = ["timing"]
    cells.append(nbformat.v4.new_markdown_cell(sources[3]))
    path = tmp_path / "page.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_it_is_stored_small_and_steady(page):
    run(page)
    first = page.read_bytes()
    shown = nbformat.read(page, as_version=4)
    assert "widgets" not in shown.metadata and b"widget-view" not in first
    texts = [cell.outputs[0].get("text", "") for cell in shown.cells[:3]]
    assert texts[0] == "1\n2\n" and float(texts[2])
    assert "Controls: n." in str(shown.cells[1].outputs[0]["data"])
    run(page)
    assert page.read_bytes() == first


def test_times_are_new_where_something_else_is(page):
    run(page)
    stored = nbformat.read(page, as_version=4)
    stored.cells[0].source = "print(3)"
    nbformat.write(stored, page)
    run(page)
    again = nbformat.read(page, as_version=4)
    assert again.cells[0].outputs[0].text == "3\n"
    assert again.cells[2].outputs[0].text != stored.cells[2].outputs[0].text


def test_a_page_that_fails_stays_as_it_was(page):
    before = nbformat.read(page, as_version=4)
    before.cells[0].source = "1 / 0"
    nbformat.write(before, page)
    bytes_before = page.read_bytes()
    with pytest.raises(Exception, match="ZeroDivisionError"):
        run(page)
    assert page.read_bytes() == bytes_before
