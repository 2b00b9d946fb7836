"""benchmarks/README.md shows what the JSON files beside it hold, and nothing else."""

import runpy
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
report = runpy.run_path(str(BENCHMARKS / "report.py"))


def test_its_page_shows_what_was_measured():
    page = (BENCHMARKS / "README.md").read_text("utf-8")
    assert page.count(report["tables"]()) == 1


def test_medians_ranges_and_ratios_are_right():
    line = report["row"]("a walk", [2.0, 1.0, 4.0], [6.0, 4.0, 8.0])
    assert line == "| a walk | 2 s (1 to 4) | 6 s (4 to 8) | 3.00 | 2.00 to 4.00 |"
    assert report["row"]("one", [0.02], [0.03]).endswith(
        "20 ms (20 to 20) | 30 ms (30 to 30) | 1.50 | 1.50 to 1.50 |"
    )


@pytest.mark.parametrize("script", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.name)
def test_make_bench_runs_every_script(script):
    makefile = (BENCHMARKS.parent / "Makefile").read_text("utf-8")
    assert f"$(PY) benchmarks/{script.name}" in makefile
