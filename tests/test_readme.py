"""The README tells the truth: its code runs, its commands exist, its numbers were measured."""

import json
import re
from pathlib import Path
from statistics import median

import pytest

from boringfusion_lite.evaluate import format_table, shown
from boringfusion_lite.runtime import bundled_folder

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
SCORES = json.loads((bundled_folder() / "scores.json").read_text("utf-8"))


def test_it_is_short():
    assert len(README.splitlines()) <= 150


def test_its_python_runs_as_printed():
    for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(compile(code, "README.md", "exec"), {})


def test_its_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:.*## ", makefile, re.MULTILINE), target


def test_its_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("https://") or (ROOT / link).exists(), link


@pytest.mark.parametrize("row", SCORES["rows"], ids=lambda row: f"{row['part']}, {row['score']}")
def test_its_scores_are_those_of_the_file(row):
    line = f"| {row['part']}: {row['score']} | {shown(row['value'], row['unit'])}"
    named = f"| {row['part']}: {row['score']} |"
    assert line in README or named not in README


def test_its_table_names_enough_scores():
    named = [row for row in SCORES["rows"] if f"| {row['part']}: {row['score']} |" in README]
    assert len(named) >= 8


def test_the_model_card_holds_the_whole_table():
    card = (bundled_folder() / "README.md").read_text("utf-8")
    assert format_table(SCORES) in card


@pytest.mark.parametrize("who", ["ours", "diffusers"])
def test_its_seconds_are_those_of_the_benchmark(who):
    measured = json.loads((ROOT / "benchmarks" / "speed.json").read_text("utf-8"))[who]
    for kind, digits in ("cold", 1), ("warm", 2):
        assert f"{median(measured[kind]):.{digits}f} s" in README, kind
