"""Any file of weights becomes the same tensors; nothing in it runs; what is no weights is named."""

import json
import os
import pickle
import sys
import types

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from boringfusion_lite.weight_files import read, read_folder

WEIGHTS = {
    "unet.conv": torch.arange(24.0).reshape(2, 3, 2, 2),
    "unet.bias": torch.tensor([1.5, -2.0], dtype=torch.float16),
    "unet.norm": torch.tensor([0.1, 0.2], dtype=torch.bfloat16),
}


def save_zip(content, file):
    torch.save(content, file)


def save_old(content, file):
    """As PyTorch wrote pickles before version 1.6."""
    torch.save(content, file, _use_new_zipfile_serialization=False)


PICKLES = [save_zip, save_old]


def same(found, expected=WEIGHTS):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)


def refused(file, *words, error=ValueError):
    with pytest.raises(error) as caught:
        read(file)
    message = str(caught.value)
    for word in (str(file), *words):
        assert word in message, f"{word!r} is not in: {message}"
    assert message.count("\n") < 5 and "weights_only" not in message  # PyTorch's risky advice


# ---- what is read --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "renamed.ckpt", "no ending"])
def test_safetensors_under_any_name(tmp_path, name):
    save_file(WEIGHTS, tmp_path / name, {"a": "note"})
    same(read(tmp_path / name))


@pytest.mark.parametrize("save", PICKLES)
@pytest.mark.parametrize("name", ["a.ckpt", "a.bin", "a.pt", "a.pth"])
def test_pickles(tmp_path, save, name):
    save(WEIGHTS, tmp_path / name)
    same(read(tmp_path / name))


@pytest.fixture
def lightning(monkeypatch):
    """The class whose name lies in sd-v1-4.ckpt, so that a file like that one can be written."""
    path = "pytorch_lightning.callbacks.model_checkpoint"
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks", path):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    made = type("ModelCheckpoint", (), {"__module__": path})
    sys.modules[path].ModelCheckpoint = made
    return made


@pytest.mark.parametrize("save", PICKLES)
def test_what_training_left_is_passed_over(tmp_path, lightning, monkeypatch, save):
    content = {
        "epoch": 26,
        "global_step": 470_000,
        "pytorch-lightning_version": "1.4.2",
        "callbacks": {lightning: {"best_model_score": np.float64(0.1), "steps": np.int64(3)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}],
        "lr_schedulers": [],
        "state_dict": WEIGHTS | {"not a tensor": 3},
    }
    save(content, tmp_path / "sd.ckpt")
    monkeypatch.delitem(sys.modules, lightning.__module__)  # nobody has it installed
    before = set(torch.serialization.get_safe_globals())
    same(read(tmp_path / "sd.ckpt"))
    assert set(torch.serialization.get_safe_globals()) == before
    assert lightning.__module__ not in sys.modules


def test_parameters_and_nested_dicts(tmp_path):
    vector = torch.nn.Parameter(torch.ones(2, 3))
    save_zip({"string_to_param": {"*": vector}, "name": "cat"}, tmp_path / "word.pt")
    found = read(tmp_path / "word.pt")
    same(found, {"string_to_param.*": torch.ones(2, 3)})
    assert not found["string_to_param.*"].requires_grad


@pytest.mark.parametrize("save", [save_file, save_zip])
def test_writing_to_a_tensor_never_reaches_the_file(tmp_path, save):
    """The tensors are views of the file; the copy is made when somebody writes."""
    file = tmp_path / "model.safetensors" if save is save_file else tmp_path / "model.ckpt"
    save({"a": torch.zeros(5000)}, file)
    before = file.read_bytes()
    found = read(file)["a"]
    found += 1
    assert found.sum() == 5000 and file.read_bytes() == before
    assert read(file)["a"].sum() == 0


# ---- what would run code -------------------------------------------------------------------------


class Exploit:
    """Unpickled by anybody else, it runs a shell command."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch '{self.file}'",)


class Evaluated(Exploit):
    def __reduce__(self):
        return exec, (f"open({str(self.file)!r}, 'w')",)


@pytest.mark.parametrize("save", PICKLES)
@pytest.mark.parametrize(("kind", "called"), [(Exploit, f"{os.name}.system"), (Evaluated, "exec")])
@pytest.mark.parametrize("nested", [False, True])
def test_code_is_refused_and_does_not_run(tmp_path, save, kind, called, nested):
    evil = kind(tmp_path / "it ran")
    save({"state_dict": WEIGHTS | {"z": evil}} if nested else evil, tmp_path / "evil.ckpt")
    refused(tmp_path / "evil.ckpt", f"would call {called}.", "nothing of it ran", ".safetensors")
    assert not (tmp_path / "it ran").exists()


def test_the_exploit_is_a_live_one(tmp_path):
    save_zip(Exploit(tmp_path / "it ran"), tmp_path / "evil.ckpt")
    torch.load(tmp_path / "evil.ckpt", weights_only=False)
    assert (tmp_path / "it ran").exists()


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_bare_pickle_is_refused(tmp_path, protocol):
    file = tmp_path / "evil.ckpt"
    file.write_bytes(pickle.dumps(Exploit(tmp_path / "it ran"), protocol))
    refused(file, "call" if protocol == 2 else "bare Python pickle")
    assert not (tmp_path / "it ran").exists()


def test_a_pickle_that_calls_itself_safetensors(tmp_path):
    save_zip(WEIGHTS, tmp_path / "model.safetensors")
    refused(tmp_path / "model.safetensors", "PyTorch pickle under the name of")


# ---- what is no file of weights ------------------------------------------------------------------

MISTAKES = {
    b"": "is empty",
    b"\n<!DOCTYPE html><html><body>Access denied": "web page",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00": "git lfs pull",
    b'{"_class_name": "StableDiffusionPipeline"}': "model_index.json",
    b"GGUF\3\0\0\0": "GGUF",
    b"hello, this is no model": "begins with b'hello, t'",
}


@pytest.mark.parametrize("content", MISTAKES)
@pytest.mark.parametrize("name", ["model.ckpt", "model.safetensors"])
def test_what_is_saved_in_place_of_weights(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    unnamed = content.startswith(b"hello") and name.endswith("s")
    refused(tmp_path / name, "cut short or damaged" if unnamed else MISTAKES[content])


@pytest.mark.parametrize("save", [save_file, *PICKLES])
@pytest.mark.parametrize("keep", [0.05, 0.5, 0.99])
def test_a_truncated_file(tmp_path, save, keep):
    file = tmp_path / ("model.safetensors" if save is save_file else "model.ckpt")
    save(WEIGHTS | {"big": torch.zeros(1000)}, file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * keep)])
    refused(file, "cut short or damaged", "etch it again")


@pytest.mark.parametrize("save", PICKLES)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.integers(0, 10**6), value=st.integers(0, 255))
def test_a_damaged_pickle_raises_nothing_else(tmp_path, save, place, value):
    """One wrong byte: it is refused as damaged, or what it holds is still tensors."""
    save(WEIGHTS, tmp_path / "model.ckpt")
    content = bytearray((tmp_path / "model.ckpt").read_bytes())
    content[place % len(content)] = value
    (tmp_path / "model.ckpt").write_bytes(content)
    try:
        assert all(
            isinstance(tensor, torch.Tensor) for tensor in read(tmp_path / "model.ckpt").values()
        )
    except ValueError as error:
        assert "model.ckpt" in str(error)


def test_a_file_that_is_too_long(tmp_path):
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    with (tmp_path / "model.safetensors").open("ab") as file:
        file.write(b"and more")
    refused(tmp_path / "model.safetensors", "not a complete .safetensors file")


@pytest.mark.parametrize("content", [{"step": 3}, [torch.ones(2)], {}])
def test_nothing_of_use_in_it(tmp_path, content):
    save_zip(content, tmp_path / "log.pt")
    refused(tmp_path / "log.pt", "holds no weights")


def test_there_is_no_file(tmp_path):
    refused(tmp_path / "nowhere.ckpt", "check the path", error=FileNotFoundError)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "model.pt")
    with pytest.raises(ValueError, match="TorchScript"):
        read(tmp_path / "model.pt")


# ---- a folder's part -----------------------------------------------------------------------------

STEM = "diffusion_pytorch_model"


def of(value):
    return {"a": torch.tensor([float(value)])}


def test_which_of_a_folders_files(tmp_path):
    """Plain before fp16, .safetensors before .bin; a variant that is asked for, and no other."""

    def found(**options):
        return read_folder(tmp_path, **options)["a"].item()

    save_zip(of(1), tmp_path / f"{STEM}.fp16.bin")
    assert found() == found(variant="fp16") == 1
    save_file(of(2), tmp_path / f"{STEM}.fp16.safetensors")
    assert found() == found(variant="fp16") == 2
    save_zip(of(3), tmp_path / f"{STEM}.bin")
    assert found() == 3 and found(variant="fp16") == 2
    save_file(of(4), tmp_path / f"{STEM}.safetensors")
    assert found() == 4 and found(variant="fp16") == 2
    with pytest.raises(FileNotFoundError, match=rf"variant 'ema'.*found {STEM}\.bin, {STEM}\.fp16"):
        found(variant="ema")


@pytest.mark.parametrize(
    ("index", "shard", "save", "variant"),
    [
        ("model.safetensors.index.json", "model-0000{}-of-00002.safetensors", save_file, None),
        (f"{STEM}.bin.index.json", STEM + "-0000{}-of-00002.bin", save_zip, None),
        ("pytorch_model.bin.index.fp16.json", "x.fp16-0000{}.bin", save_zip, "fp16"),
        (f"{STEM}.safetensors.index.fp16.json", "y-{}.safetensors", save_file, "fp16"),
    ],
)
def test_shards(tmp_path, index, shard, save, variant):
    halves = {"a": shard.format(1), "b": shard.format(1), "c": shard.format(2)}
    save({"a": torch.ones(1), "b": torch.ones(2)}, tmp_path / shard.format(1))
    save({"c": torch.ones(3)}, tmp_path / shard.format(2))
    (tmp_path / index).write_text(json.dumps({"weight_map": halves}))
    found = read_folder(tmp_path, variant)
    assert {name: len(tensor) for name, tensor in found.items()} == {"a": 1, "b": 2, "c": 3}
    (tmp_path / shard.format(2)).unlink()
    with pytest.raises(FileNotFoundError, match="the index beside it names it"):
        read_folder(tmp_path, variant)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": 3}'])
def test_a_damaged_index(tmp_path, content):
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ValueError, match="is damaged"):
        read_folder(tmp_path)
