"""Run pages from top to bottom and store what they show: small outputs, the same bytes each time.

    python notebooks/run.py                      # all of them, in order (`make notebooks`)
    python notebooks/run.py notebooks/03*.ipynb  # some

A page is written only when it ran through. What would change with every run is left out: ids and
state of widgets (a widget is stored as the sentence that describes it) and times of execution.
Cells tagged "timing" show measured milliseconds; where nothing else on a page has changed they keep
what they showed before.
"""

import sys
from pathlib import Path
from time import perf_counter

import nbformat
from nbclient import NotebookClient

WIDGET = "application/vnd.jupyter.widget-view+json"
LIMIT = 600  # seconds a cell may take


def run(path: Path) -> None:
    """Execute one page in place."""
    before = nbformat.read(path, as_version=4)
    page = nbformat.read(path, as_version=4)
    began = perf_counter()
    client = NotebookClient(page, timeout=LIMIT, record_timing=False, store_widget_state=False)
    client.execute(cwd=str(path.parent))
    for cell in page.cells:
        clean(cell)
    page.metadata.pop("widgets", None)
    page.metadata["language_info"] = {"name": "python"}
    keep_timings(page, before)
    nbformat.write(page, path)
    size = path.stat().st_size
    print(f"{path.name}: {perf_counter() - began:.0f} s, {size / 2**20:.2f} MiB", flush=True)


def clean(cell) -> None:
    """Leave out of a cell's outputs what differs from run to run, and join what was printed."""
    if cell.cell_type == "code":
        cell.outputs = joined(cell.outputs)
    for output in cell.get("outputs", []):
        output.get("data", {}).pop(WIDGET, None)
        if "text/html" in output.get("data", {}):
            output["data"]["text/plain"] = ["<picture or table>"]


def joined(outputs: list) -> list:
    """Neighbouring prints as one: where the kernel cuts a stream is a matter of time."""
    result = []
    for output in outputs:
        last = result[-1] if result else {}
        if output.get("name") and output.get("name") == last.get("name"):
            last["text"] += output["text"]
        else:
            result.append(output)
    return result


def keep_timings(page, before) -> None:
    """Put the old outputs of "timing" cells back where all the rest of the page is as it was."""
    if len(page.cells) != len(before.cells):
        return
    pairs = list(zip(page.cells, before.cells))
    timed = [pair for pair in pairs if "timing" in pair[0].metadata.get("tags", [])]
    steady = [pair for pair in pairs if pair not in timed]
    if all(new == old for new, old in steady) and all(n.source == o.source for n, o in timed):
        for new, old in timed:
            new["outputs"] = old["outputs"]


if __name__ == "__main__":
    pages = [Path(name) for name in sys.argv[1:]]
    for path in pages or sorted(Path(__file__).parent.glob("*.ipynb")):
        run(path)
