"""Devices, seeds, the model's place, and what the environment check says."""

import importlib.metadata
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from boringfusion_lite import runtime


@pytest.fixture
def gpus(monkeypatch):
    """Pretend that there are so many NVIDIA GPUs."""

    def pretend(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return pretend


def test_without_a_gpu_it_is_the_cpu_in_float32(gpus):
    gpus(0)
    assert runtime.pick_device() == (torch.device("cpu"), torch.float32)
    assert runtime.pick_device(torch.device("cpu")) == (torch.device("cpu"), torch.float32)


def test_with_a_gpu_it_is_the_gpu_in_float16(gpus):
    gpus(2)
    assert runtime.pick_device() == (torch.device("cuda"), torch.float16)
    assert runtime.pick_device("cuda:1") == (torch.device("cuda:1"), torch.float16)
    assert runtime.pick_device("cpu") == (torch.device("cpu"), torch.float32)
    with pytest.raises(RuntimeError, match='There is no "cuda:2" here'):
        runtime.pick_device("cuda:2")


def test_a_gpu_that_is_not_there(gpus, monkeypatch):
    gpus(0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match='sees 0 GPUs. Use device="cpu"'):
        runtime.pick_device("cuda")
    with pytest.raises(RuntimeError, match="needs a Mac"):
        runtime.pick_device("mps")


def test_apple_gpus_only_when_asked_for(gpus, monkeypatch):
    gpus(0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert runtime.pick_device()[0].type == "cpu"
    answers = {"cpu": runtime.sample_work("cpu"), "mps": runtime.sample_work("cpu") + 1e-5}
    monkeypatch.setattr(runtime, "sample_work", lambda device: answers[str(device)])
    assert runtime.pick_device("mps") == (torch.device("mps"), torch.float32)
    answers["mps"] = answers["mps"].roll(1)  # as with a layout that was misread
    with pytest.raises(RuntimeError, match='"mps" computes other numbers here than the CPU'):
        runtime.pick_device("mps")


def test_the_sample_of_work_is_not_trivial():
    work = runtime.sample_work("cpu")
    assert work.shape == (2, 4, 256, 8) and work.isfinite().all() and work.std() > 0.1


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "meta", 3.5])
def test_unknown_devices(name):
    with pytest.raises(ValueError, match="Unknown device"):
        runtime.pick_device(name)


@given(st.integers(0, 2**63 - 1))
def test_a_seed_is_the_noise(seed):
    before = torch.get_rng_state()
    first, second = (torch.randn(4, generator=runtime.generator(seed)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())


def test_the_noise_of_seed_0_stays_what_it_is():
    noise = torch.randn(3, generator=runtime.generator(0))
    torch.testing.assert_close(noise, torch.tensor([1.5410, -0.2934, -2.1788]), atol=1e-4, rtol=0)
    assert runtime.generator(np.int64(7)).initial_seed() == 7


@pytest.mark.parametrize("seed", [-1, 2**63, 0.0, "0", None, True, float("nan")])
def test_what_is_no_seed(seed):
    with pytest.raises(ValueError, match="A seed is a whole number from 0 to"):
        runtime.generator(seed)


def test_the_bundled_model_is_the_default(monkeypatch):
    monkeypatch.delenv("BORINGFUSION_MODEL", raising=False)
    assert runtime.model_folder() == runtime.bundled_folder()
    assert (runtime.bundled_folder() / "tokenizer" / "vocab.json").is_file()


def test_the_environment_variable_names_another_model(monkeypatch, tmp_path):
    monkeypatch.setenv("BORINGFUSION_MODEL", str(tmp_path))
    assert runtime.model_folder() == tmp_path
    monkeypatch.setenv("BORINGFUSION_MODEL", str(tmp_path / "nothing.safetensors"))
    with pytest.raises(FileNotFoundError, match="BORINGFUSION_MODEL points there"):
        runtime.model_folder()


def test_an_installed_package_carries_the_model(monkeypatch, tmp_path):
    (tmp_path / "boringfusion_lite" / "data" / "tiny-sd").mkdir(parents=True)
    monkeypatch.setattr(runtime, "__file__", str(tmp_path / "boringfusion_lite" / "runtime.py"))
    assert runtime.bundled_folder() == tmp_path / "boringfusion_lite" / "data" / "tiny-sd"


def test_a_good_environment(capsys):
    assert runtime.check_environment()
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(("[OK] ", "[WARN] ")) for line in lines)
    for what in ("python 3.", "torch 2.", "tokenizers 0.", "ipywidgets 8.", "device:", "model:"):
        assert any(what in line for line in lines), what


def test_a_poor_environment_is_told_what_to_do(capsys, monkeypatch):
    def version(package):
        if package == "jupyterlab_widgets":
            raise importlib.metadata.PackageNotFoundError(package)
        return {"tokenizers": "0.21.4", "torch": "2.9.0a0+build"}.get(package, "99.0")

    monkeypatch.setattr(runtime, "version", version)
    monkeypatch.setenv("BORINGFUSION_MODEL", "/no/such/model")
    assert not runtime.check_environment()
    out = capsys.readouterr().out
    assert "[OK] torch 2.9.0a0+build\n" in out
    assert "[FAIL] tokenizers 0.21.4; " in out and 'pip install "tokenizers>=0.22"' in out
    assert "[WARN] jupyterlab_widgets is not installed; " in out
    assert "[FAIL] No model at " in out


def test_no_process_that_the_tests_start_reaches_another_machine():
    call = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    ended = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True)
    assert "tests need no network" in ended.stderr
