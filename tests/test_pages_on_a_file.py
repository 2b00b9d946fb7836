"""BORINGFUSION_MODEL names a file, and pages run on it as they are."""

from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient

import boringfusion_lite as bf
from boringfusion_lite.runtime import bundled_folder

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
LAST = "print(sd.unet.conv_out.bias.sum().item())"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A model in one file, and not the bundled one: all its guesses are a little brighter."""
    sd = bf.load(bundled_folder(), device="cpu")
    sd.unet.conv_out.bias.data += 0.01
    path = tmp_path_factory.mktemp("model") / "other.safetensors"
    sd.save(path, dtype=torch.float32)
    return path


@pytest.mark.parametrize(
    "name", ["00_first_image", "04_unet_denoising", "06_vae_decoding", "08_the_real_thing"]
)
def test_a_page_runs_on_one_file(name, file, monkeypatch):
    monkeypatch.setenv("BORINGFUSION_MODEL", str(file))
    page = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    page.cells.append(nbformat.v4.new_code_cell(LAST))
    NotebookClient(page, timeout=120).execute(cwd=str(NOTEBOOKS))
    (told,) = page.cells[-1].outputs
    assert float(told.text) == bf.load(file).unet.conv_out.bias.sum().item()
    for cell in page.cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", f"{cell.id}: {output.text}"
