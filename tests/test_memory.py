"""How much memory opening a model takes, beside its file, in each format that can be opened."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from test_single_file import PARTS, TEXT, UNET, a_model

from boringfusion_lite.weight_files import read_folder

pytestmark = pytest.mark.skipif(
    not os.path.exists("/proc/self/clear_refs"), reason="read from Linux's /proc"
)
MEASURE = """
import sys, torch
import boringfusion_lite as bf
from boringfusion_lite.tokenizer import Tokenizer

def memory(*names):
    lines = dict(line.split(":") for line in open("/proc/self/status"))
    return sum(1024 * int(lines[name].split()[0]) for name in names)

def use(sd):
    return sum(p.float().sum() for n in (sd.text_encoder, sd.unet, sd.vae) for p in n.parameters())

Tokenizer.load(), bf.load(), torch.ones(9, 9) @ torch.ones(9, 9)
path, dtype = sys.argv[1:]
open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
own, all_of_it = memory("RssAnon"), memory("VmRSS")
sd = bf.load(path, dtype=getattr(torch, dtype))
peak = memory("VmHWM") - all_of_it
loaded = memory("RssAnon") - own
use(sd)
print(max(peak, memory("VmRSS") - all_of_it), loaded)
"""


@pytest.fixture(scope="module")
def model():
    return a_model(replace(TEXT, width=512, heads=8), replace(UNET, context_width=512))


def safetensors(model, folder, dtype):
    model.save(folder / "model.safetensors", dtype=dtype)
    return folder / "model.safetensors"


def ckpt(model, folder, dtype):
    single, path = safetensors(model, folder, dtype), folder / "model.ckpt"
    torch.save({"state_dict": load_file(single)}, path)
    return path


def diffusers_folder(model, folder, dtype):
    model.save(folder / "model", dtype=dtype)
    return folder / "model"


def bin_folder(model, folder, dtype):
    path = diffusers_folder(model, folder, dtype)
    for part in PARTS:
        name = "pytorch_model.bin" if part == "text_encoder" else "diffusion_pytorch_model.bin"
        tensors = {key: tensor.clone() for key, tensor in read_folder(path / part).items()}
        for file in (path / part).glob("*.safetensors*"):  # the index of shards, too
            file.unlink()
        torch.save(tensors, path / part / name)
    return path


@pytest.mark.parametrize("write", [safetensors, ckpt, diffusers_folder, bin_folder])
@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        (torch.float32, torch.float32),
        (torch.float32, torch.bfloat16),
        (torch.float16, torch.float32),
    ],
    ids=lambda dtype: str(dtype)[6:],
)
def test_memory(model, tmp_path, write, stored, wanted):
    """A file in the dtype asked for is mapped, not copied; another dtype is one copy, no more."""
    path = write(model, tmp_path, stored)
    files = [path] if path.is_file() else path.glob("*/*")
    size = sum(file.stat().st_size for file in files if file.suffix != ".json")
    assert size > 5e7
    command = [sys.executable, "-c", MEASURE, path, str(wanted)[6:]]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    peak, own = (int(number) / size for number in run.stdout.split())
    copied = 0 if stored == wanted else wanted.itemsize / stored.itemsize
    print(f"\n{size:,} bytes: {peak:.2f} times as much at the peak, {own:.2f} of its own")
    assert peak < 1.15 + copied
    assert own < 0.15 + copied
