"""The script behind data/sweeps.json: every sweep is measured, no setting twice, and it goes on."""

import importlib.util
from pathlib import Path

import pytest
import torch

from boringfusion_lite import sweeps
from boringfusion_lite.saving import replace_file

SCRIPT = Path(__file__).parents[1] / "data" / "measure_sweeps.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("measure_sweeps", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_sweep_is_among_the_settings_and_no_setting_comes_twice(script):
    wanted = script.settings_of_all()
    assert len({tuple(one.items()) for one in wanted}) == len(wanted)
    held = sweeps.Sweeps({}, [one | {"calls": script.calls(one)} for one in wanted])
    assert tuple(one["steps"] for one in held.along("steps")) == script.STEPS
    assert tuple(one["guidance"] for one in held.along("guidance")) == script.SCALES
    assert {one["sampler"] for one in held.along("sampler")} == set(script.CALLS_10)


def test_what_is_written_is_read_and_gone_on_with(script, tmp_path, monkeypatch, capsys):
    file, settings = tmp_path / "sweeps.json", {"pictures": 2, "unet": 1.5}
    state = {"settings": settings, "facts": {"spread unit": 2.0}, "points": [{"steps": 5}]}
    script.write(file, state)
    replace_file(file.with_suffix(".safetensors"), {"real/judge": torch.ones(2, 3)})
    held = sweeps.load_sweeps(file)
    assert held.points == state["points"] and held.features["real/judge"].shape == (2, 3)
    assert script.begin(None, file, settings) == state
    assert "going on" in capsys.readouterr().out
    monkeypatch.setattr(script, "estimate", lambda bench: 1 / 0)  # others are measured anew
    with pytest.raises(ZeroDivisionError):
        script.begin(None, file, settings | {"pictures": 3})


def test_verdicts_are_added_up(script):
    one = {aspect: [True] for aspect in script.ASPECTS}
    total = script.added_up([one, one | {"thing": [True, False], "place": []}])
    assert total["thing"] == [2, 3] and total["place"] == [1, 1] and total["everything"] == [2, 2]


def test_the_stored_file_holds_all_sweeps(script):
    if not sweeps.FILE.is_file():
        pytest.skip("not measured yet: python data/measure_sweeps.py")
    held = sweeps.load_sweeps()
    for axis in sweeps.SWEPT:
        assert len(held.along(axis)) >= 4
    n = 2 * held.settings["pictures"]
    assert all(len(one["right"]) == n for one in held.points)
    assert held.features["ours/judge"].shape[1] == held.features["real/judge"].shape[1]
