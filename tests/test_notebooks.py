"""What a committed notebook must be: run in order, quiet, small, and free of this machine."""

import json
import os
import re
from pathlib import Path

import pytest
import torch

from boringfusion_lite.runtime import bundled_folder

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
GLOSSARY = ROOT / "notebooks" / "glossary.ipynb"
MACHINE = re.compile(r"(?<![\w.+/])/(home|root|Users|work|opt|mnt|tmp|usr)/\w|[A-Z]:\\+Users\\")
IMAGE = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/=]+")


@pytest.fixture(params=PAGES, ids=lambda page: page.stem)
def page(request):
    return request.param


@pytest.fixture
def notebook(page):
    return json.loads(page.read_text("utf-8"))


def code(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def prose(notebook):
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown"]


def outputs(notebook):
    return [output for cell in code(notebook) for output in cell["outputs"]]


def test_there_are_pages():
    assert PAGES


def test_it_was_run_from_top_to_bottom(notebook):
    counts = [cell["execution_count"] for cell in code(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_it_is_quiet(notebook):
    for output in outputs(notebook):
        assert output["output_type"] != "error", output
        assert output.get("name") != "stderr", output


def test_it_is_small(page, notebook):
    assert page.stat().st_size <= 1_048_576
    for output in outputs(notebook):
        shown = "".join(output.get("data", {}).get("text/html", ""))
        assert all(len(image) <= 160_000 for image in IMAGE.findall(shown))


def test_it_names_no_folder_of_this_machine(page):
    text = IMAGE.sub("", page.read_text("utf-8"))
    assert not MACHINE.findall(text)


def test_widgets_leave_no_broken_state(notebook):
    for held in notebook["metadata"].get("widgets", {}).values():
        assert "state" in held


def test_its_metadata_is_that_of_any_reader(notebook):
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info", "widgets"}
    assert not any("execution" in cell["metadata"] for cell in code(notebook))


def test_cells_have_lasting_names(page, notebook):
    number = page.stem.split("_")[0]
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(rf"{number}-\d\d+", name) for name in ids)


def test_links_lead_somewhere(page, notebook):
    for text in prose(notebook):
        for link in re.findall(r"\]\(([^)#\s]+)", text):
            if not re.match(r"https?://", link):
                assert (page.parent / link).exists(), link


def test_every_image_has_alt_text(notebook):
    for output in outputs(notebook):
        data = output.get("data", {})
        assert "image/png" not in data, "show pictures with plots.show, which gives them alt text"
        for tag in re.findall(r"<img[^>]*", "".join(data.get("text/html", ""))):
            assert re.search(r'alt="[^"]{10,}"', tag), tag[:200]


def test_what_is_to_be_shown_is_shown(notebook):
    """Jupyter shows the value of a cell's last line alone."""
    for cell in code(notebook):
        if re.search(r"^plots\.show\(", "".join(cell["source"]), re.MULTILINE):
            assert any("text/html" in output.get("data", {}) for output in cell["outputs"]), cell[
                "id"
            ]


def test_code_and_words_take_turns(notebook):
    kinds = "".join(cell["cell_type"][0] for cell in notebook["cells"])
    assert kinds.startswith("mcmc") and "cc" not in kinds and "mmm" not in kinds
    assert max(len("".join(cell["source"]).splitlines()) for cell in code(notebook)) <= 15
    assert sum(len(text.split()) for text in prose(notebook)) <= 2500


def test_every_prediction_is_asked_before_and_answered_after_its_cell(notebook):
    cells = notebook["cells"]
    asked = [i for i, c in enumerate(cells) if "> **Predict.**" in "".join(c["source"])]
    assert 3 <= len(asked) <= 7
    for i in asked:
        assert "".join(cells[i]["source"]).rstrip().splitlines()[-1].startswith(">")
        assert cells[i + 1]["cell_type"] == "code"
        later = "".join("".join(c["source"]) for c in cells[i + 2 : i + 7])
        assert "<details><summary>What happened</summary>" in later


def test_details_are_closed_and_set_apart(notebook):
    for text in prose(notebook):
        assert text.count("<details>") == text.count("</details>")
        for after in re.findall(r"</summary>\n(.*)", text):
            assert after == "", "markdown inside <details> needs an empty line before it"


def test_exercises_come_with_hint_and_solution(notebook):
    text = "\n".join(prose(notebook))
    for stars in ("★ ", "★★ ", "★★★ "):
        assert f"### {stars}" in text
    assert text.count("<summary>Hint</summary>") == text.count("<summary>Solution</summary>") == 3
    shown = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs(notebook)]
    assert sum("not attempted" in "".join(text) for text in shown) == 3


def test_every_solution_holds(notebook):
    """Run the page's setup, its cells tagged "definitions", its solutions, and their checks."""
    if not os.environ.get("BORINGFUSION_MODEL") and not (bundled_folder() / "unet").is_dir():
        pytest.skip("no model weights: data/tiny-sd has no unet")
    solutions = re.findall(r"```python\n(.*?)```", "\n".join(prose(notebook)), re.DOTALL)
    assert len(solutions) == 3
    cells = ["".join(cell["source"]) for cell in code(notebook)]
    tagged = ["definitions" in cell["metadata"].get("tags", []) for cell in code(notebook)]
    verdicts = [line for cell in cells for line in cell.splitlines() if line.startswith("checks.")]
    assert len(verdicts) == 3, "an exercise ends with checks.check_...(yours)"
    space, grad = {}, torch.is_grad_enabled()
    try:
        for source in [cells[0], *(cell for cell, use in zip(cells, tagged) if use), *solutions]:
            exec(source, space)
        for line in verdicts:
            verdict = eval(line, space)
            assert verdict.passed, verdict
    finally:
        torch.set_grad_enabled(grad)
