"""Models to disk and back: what is written is what is read, and bad files get a clear error."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import TOKENIZER

import boringfusion_lite as bf
from boringfusion_lite import saving, settings
from boringfusion_lite.unet import UNetConfig

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of the tiny model to break."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


def edit_json(file, **changes):
    """Change settings in a JSON file; None takes one out."""
    content = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def edit_weights(file, change):
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


def files(folder):
    """Every file below a folder and its bytes."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_same_weights(ours, theirs):
    ours, theirs = ours.state_dict(), theirs.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())


# ---- round trips ---------------------------------------------------------------------------------


def test_what_was_saved_is_loaded(sd, tiny_clip, tmp_path):
    bf.save(sd, tmp_path / "new", tokenizer=TOKENIZER, clip=tiny_clip, dtype=torch.float32)
    again = bf.load(tmp_path / "new")
    for part in ("text_encoder", "unet", "vae"):
        assert_same_weights(getattr(again, part), getattr(sd, part))
        assert getattr(again, part).config == getattr(sd, part).config
    assert again.schedule == sd.schedule and again.vae.config.scaling_factor == 0.7
    assert torch.equal(again.tokenize("a red house"), sd.tokenize("a red house"))


def test_clip_comes_back_whole(tiny_folder, tiny_clip):
    again = bf.load_clip(tiny_folder)
    assert again.config == tiny_clip.config
    assert_same_weights(again, tiny_clip.half().float())


def test_loading_and_saving_again_changes_no_byte(tiny_sd, tiny_folder, tmp_path):
    bf.save(tiny_sd, tmp_path / "again", tokenizer=TOKENIZER, clip=bf.load_clip(tiny_folder))
    assert files(tmp_path / "again") == files(tiny_folder)


def test_dtype_and_environment(tiny_folder, monkeypatch):
    monkeypatch.setenv("BORINGFUSION_MODEL", str(tiny_folder))
    half = bf.load(dtype=torch.bfloat16)
    assert {p.dtype for p in half.unet.parameters()} == {torch.bfloat16}
    assert not half.unet.training and not half.vae.training and not half.text_encoder.training
    assert half("a red house", steps=1).size == (64, 64)


def test_shards(tiny_folder, sd, tmp_path, monkeypatch):
    diffusers, transformers = map(pytest.importorskip, ("diffusers", "transformers"))
    monkeypatch.setattr(saving, "SHARD_BYTES", 60_000)
    bf.save(sd, tmp_path / "new", tokenizer=TOKENIZER)
    for part, whole in (("unet", UNET), ("text_encoder", "text_encoder/model.safetensors")):
        shards = list((tmp_path / "new" / part).glob("*-of-*.safetensors"))
        assert len(shards) > 1 and not (tmp_path / "new" / whole).exists()
        index = json.loads((tmp_path / "new" / f"{whole}.index.json").read_text())
        assert set(index["weight_map"].values()) == {shard.name for shard in shards}
        assert index["weight_map"].keys() == load_file(tiny_folder / whole).keys()
        several = [shard for shard in shards if len(load_file(shard)) > 1]
        assert several and all(shard.stat().st_size < 70_000 for shard in several)
    again = bf.load(tmp_path / "new")
    for part, theirs in (
        ("unet", diffusers.UNet2DConditionModel),
        ("text_encoder", transformers.CLIPTextModel),
    ):
        assert_same_weights(getattr(again, part), getattr(sd, part))
        theirs = theirs.from_pretrained(tmp_path / "new", subfolder=part)
        count = sum(p.numel() for p in theirs.parameters())
        assert count == sum(p.numel() for p in getattr(sd, part).parameters())


# ---- saving that fails, or has something to clear away -------------------------------------------


def test_a_failing_save_leaves_the_old_model(sd, folder, monkeypatch):
    before = files(folder)
    with torch.no_grad():
        sd.unet.conv_out.bias += 1
    with pytest.raises(OSError):
        bf.save(sd, folder, tokenizer=folder / "no tokenizer here")
    write = saving.write_weights

    def full_disk(folder, name, tensors):
        write(folder, name, tensors)
        if folder.name == "vae":
            raise OSError("No space left on device")

    monkeypatch.setattr(saving, "write_weights", full_disk)
    with pytest.raises(OSError, match="No space left"):
        bf.save(sd, folder, tokenizer=folder / "tokenizer")
    assert files(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_saving_over_a_model_keeps_only_what_is_not_the_models(sd, folder):
    (folder / "README.md").write_text("a model card")
    (folder / "unet" / "diffusion_pytorch_model-00001-of-00002.safetensors").write_text("old")
    bf.save(sd, folder, tokenizer=folder / "tokenizer")
    assert (folder / "README.md").read_text() == "a model card"
    assert [path.name for path in (folder / "unet").glob("*.safetensors")] == [UNET[5:]]
    assert not (folder / "clip").exists()  # of the old model; the new one came without
    bf.load(folder)
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        bf.load_clip(folder)


# ---- bad files -----------------------------------------------------------------------------------


def refused(folder, error, *words):
    """Loading raises this error, its message holds these words, and the folder stays as it is."""
    before = files(folder) if folder.is_dir() else None
    with pytest.raises(error) as caught:
        bf.load(folder)
    assert type(caught.value) is error
    for word in words:
        assert word in str(caught.value), f"{word!r} is not in: {caught.value}"
    assert (files(folder) if folder.is_dir() else None) == before


def test_there_is_no_folder(tmp_path):
    refused(tmp_path / "nowhere", FileNotFoundError, "nowhere", "model_index.json")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", ValueError, "is empty")


@pytest.mark.parametrize(
    "name",
    [
        "model_index.json",
        "unet",
        "unet/config.json",
        UNET,
        "vae",
        "text_encoder",
        "tokenizer",
        "scheduler",
    ],
)
def test_a_part_is_missing(folder, name):
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    refused(folder, FileNotFoundError, str(path.parent if name == UNET else path), "model")


def test_a_shard_is_missing(folder, sd, monkeypatch):
    monkeypatch.setattr(saving, "SHARD_BYTES", 60_000)
    bf.save(sd, folder, tokenizer=TOKENIZER)
    shard = next((folder / "unet").glob("*00002-of*"))
    shard.unlink()
    refused(folder, FileNotFoundError, shard.name, "the index beside it names it")


@pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda b: b"garbage" * 50, lambda b: b""])
def test_weights_are_damaged(folder, damage):
    file = folder / UNET
    file.write_bytes(damage(file.read_bytes()))
    refused(folder, ValueError, str(file), "etch it again")


JSON_FILES = [
    "model_index.json",
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "scheduler/scheduler_config.json",
]


@pytest.mark.parametrize("content", ['{"in_channels": 4,', "", "[]"])
@pytest.mark.parametrize("name", JSON_FILES)
def test_json_is_damaged(folder, name, content):
    (folder / name).write_text(content)
    refused(folder, ValueError, str(folder / name), "copy it again")


@pytest.mark.parametrize("name", JSON_FILES[1:])
def test_settings_are_missing(folder, name):
    (folder / name).write_text("{}")
    refused(folder, ValueError, "lacks")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("unet/config.json", {"block_out_channels": 64}),
        ("unet/config.json", {"down_block_types": [1, 2]}),
        ("vae/config.json", {"layers_per_block": "two"}),
        ("vae/config.json", {"norm_num_groups": 5}),
        ("text_encoder/config.json", {"num_hidden_layers": None}),
    ],
)
def test_settings_make_no_sense(folder, name, changes):
    edit_json(folder / name, **changes)
    refused(folder, ValueError, str(folder / name))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("conv_in.bias"), ["1 missing: conv_in.bias"]),
        (lambda t: t.update(extra=torch.zeros(1)), ["1 not expected: extra"]),
        (
            lambda t: t.update({"conv_in.bias": torch.zeros(7)}),
            ["1 of another shape: conv_in.bias [7] instead of [32]"],
        ),
        (
            lambda t: [t.pop(n) for n in list(t)[:12]],
            ["12 missing: conv_in.weight [32, 4, 3, 3], conv_in.bias [32], ", ", ..."],
        ),
    ],
)
def test_weights_do_not_fit(folder, change, words):
    edit_weights(folder / UNET, change)
    refused(folder, ValueError, "do not fit the settings", str(folder / "unet"), *words)


FOREIGN = [
    ("model_index.json", "_class_name", "StableDiffusionXLPipeline"),
    ("model_index.json", "_class_name", "FluxPipeline"),
    ("unet/config.json", "addition_embed_type", "text_time"),  # SDXL
    ("unet/config.json", "in_channels", 9),  # inpainting
    ("unet/config.json", "flip_sin_to_cos", False),
    ("unet/config.json", "norm_eps", 1e-6),
    ("vae/config.json", "latent_channels", 16),
    ("text_encoder/config.json", "hidden_act", "relu"),
    ("text_encoder/config.json", "layer_norm_eps", 1e-6),
]


@pytest.mark.parametrize(("name", "key", "value"), FOREIGN)
def test_other_families_are_refused_by_name(folder, name, key, value):
    edit_json(folder / name, **{key: value})
    refused(folder, ValueError, f"{key} = {value!r}", "another model family", "SD 1.x")


def test_another_kind_of_prediction_is_refused(folder):
    edit_json(folder / "scheduler/scheduler_config.json", prediction_type="sample")
    refused(folder, ValueError, "sample", "epsilon, v_prediction")


def test_the_config_of_stable_diffusion_1_5_is_accepted():
    """As it stands in the folder that everybody has, keys we have no use for included."""
    config = {
        "_class_name": "UNet2DConditionModel",
        "_diffusers_version": "0.6.0",
        "act_fn": "silu",
        "attention_head_dim": 8,
        "block_out_channels": [320, 640, 1280, 1280],
        "center_input_sample": False,
        "cross_attention_dim": 768,
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "downsample_padding": 1,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "in_channels": 4,
        "layers_per_block": 2,
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-05,
        "norm_num_groups": 32,
        "out_channels": 4,
        "sample_size": 64,
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    }
    assert settings.unet_config(config) == UNetConfig()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_where_one_is_asked_for(tiny_folder):
    with pytest.raises(RuntimeError, match='sees 0 GPUs. Use device="cpu"'):
        bf.load(tiny_folder, device="cuda")
