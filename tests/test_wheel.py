"""The wheel: built from this folder and opened in another, it draws with the bundled model."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling")

ROOT = Path(__file__).parents[1]
DRAW = """
import boringfusion_lite as bf
from boringfusion_lite import memorisation, sweeps
assert len(memorisation.training_thumbnails()) and sweeps.load_sweeps().points
sd = bf.load()
print(bf.__file__, bf.runtime.bundled_folder(), sd("a red house", steps=1).size)
"""


def run(*command, cwd, **env) -> str:
    ended = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=os.environ | env, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_it_brings_the_model_along(tmp_path):
    run("-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path), cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    path = os.pathsep.join([str(site), os.environ["PYTHONPATH"]])
    said = run("-c", DRAW, cwd=elsewhere, PYTHONPATH=path)
    assert said.count(str(site)) == 2 and "(128, 128)" in said
