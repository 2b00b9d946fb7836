"""Whole models in one file, in the original layout: read, written, and opened by diffusers."""

import copy
import stat
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

import boringfusion_lite as bf
from boringfusion_lite import checkpoint
from boringfusion_lite.clip import TextConfig, TextEncoder
from boringfusion_lite.original_settings import NOTE
from boringfusion_lite.sources import SOURCES
from boringfusion_lite.tokenizer import Tokenizer
from boringfusion_lite.unet import UNet, UNetConfig
from boringfusion_lite.vae import VAE, VAEConfig
from boringfusion_lite.weight_files import metadata

TEXT = TextConfig(width=64, layers=2, heads=1)  # all with the heads and groups of SD 1.x, so that
UNET = UNetConfig(  #                             shapes tell the rest
    channels=(32, 64), attention=(True, False), heads=(8, 8), blocks_per_level=1, context_width=64
)
VAE_CONFIG = VAEConfig(channels=(32, 32, 32, 32), blocks_per_level=1)
PARTS = ("text_encoder", "unet", "vae")
PROMPT = "photo of a couch, photorealistic"


def stirred(model, seed):
    """Random numbers in every parameter: new norms are all ones and zeros, which hides mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def a_model(text=TEXT, unet=UNET, vae=VAE_CONFIG, **schedule):
    networks = stirred(TextEncoder(text), 1), stirred(UNet(unet), 2), stirred(VAE(vae), 3)
    return bf.StableDiffusion(Tokenizer.load(), *networks, bf.Schedule(**schedule))


@pytest.fixture(scope="module")
def model():
    return a_model()


@pytest.fixture(scope="module")
def second():
    """The shape of SD 2.x: OpenCLIP's text tower, heads 64 wide, v-prediction."""
    unet = replace(UNET, sample_size=96, channels=(64, 128), heads=(1, 2))
    vae = replace(VAE_CONFIG, sample_size=768)
    sd = a_model(replace(TEXT, activation="gelu"), unet, vae, prediction_type="v_prediction")
    sd.tokenizer.pad = 0
    return sd


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    """The small model as one file: read it, but do not change it."""
    path = tmp_path_factory.mktemp("single") / "model.safetensors"
    model.save(path, dtype=torch.float32)
    return path


def assert_same(found, expected, dtype=torch.float32):
    assert found.schedule == expected.schedule and found.tokenizer.pad == expected.tokenizer.pad
    for part in PARTS:
        found_part, expected_part = getattr(found, part), getattr(expected, part)
        assert found_part.config == expected_part.config and not found_part.training
        weights = expected_part.state_dict()
        for name, weight in found_part.state_dict().items():
            assert torch.equal(weight, weights[name].to(dtype)), name


def refused(path, *words, error=ValueError):
    with pytest.raises(error) as caught:
        bf.load(path)
    message = str(caught.value)
    for word in (str(path), *words):
        assert word in message, f"{word!r} is not in: {message}"
    assert message.count("\n") < 6


# ---- read ----------------------------------------------------------------------------------------


def without_note(path, tmp_path, change=dict):
    """The file as another program would have written it."""
    save_file(change(load_file(path)), tmp_path / "plain.safetensors")
    return tmp_path / "plain.safetensors"


def test_what_was_saved_is_loaded(model, file):
    assert_same(bf.load(file), model)


def test_shapes_are_enough(model, file, tmp_path):
    assert_same(bf.load(without_note(file, tmp_path)), model)


def test_a_model_of_other_numbers_needs_the_note(tiny_sd, tmp_path):
    """The tiny one has 2 and 4 heads and groups of 8, and another scale of latents."""
    tiny_sd.save(tmp_path / "tiny.safetensors", dtype=torch.float32)
    assert_same(bf.load(tmp_path / "tiny.safetensors"), tiny_sd)
    plain = without_note(tmp_path / "tiny.safetensors", tmp_path)
    refused(plain, "heads and groups of Stable Diffusion", "divisible")


def old(tensors, path):
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


def in_training(tensors):
    return {"state_dict": tensors, "epoch": 3, "callbacks": {}}


@pytest.mark.parametrize(
    ("save", "wrap", "dtype"),
    [
        (torch.save, dict, torch.float32),
        (torch.save, in_training, torch.float16),
        (torch.save, in_training, torch.bfloat16),
        (old, dict, torch.float16),
        (old, in_training, torch.float32),
    ],
)
def test_ckpt(model, file, tmp_path, save, wrap, dtype):
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(file).items()}
    save(wrap(tensors), tmp_path / "sd.ckpt")
    rounded = copy.deepcopy(model)
    for part in PARTS:
        getattr(rounded, part).to(dtype).float()
    assert_same(bf.load(tmp_path / "sd.ckpt"), rounded)


def with_extras(tensors):
    """What lies beside the weights in real files: buffers, and averages with other numbers."""
    flat = {n.removeprefix("model.").replace(".", ""): t for n, t in tensors.items()}
    averages = {f"model_ema.{n}": t + 1 for n, t in flat.items() if n.startswith("diffusion")}
    assert len(averages) > 50
    return {
        **averages,
        **tensors,
        "betas": torch.ones(1000),
        "alphas_cumprod": torch.ones(1000),
        "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77)[None],
        "cond_stage_model.logit_scale": torch.tensor(4.6),
        "first_stage_model.loss.logvar": torch.zeros(1),
    }


def flat_text(tensors):
    """The names that transformers 5 gives to the text encoder."""
    return {n.replace("transformer.text_model.", "transformer."): t for n, t in tensors.items()}


@pytest.mark.parametrize("change", [with_extras, flat_text, lambda t: flat_text(with_extras(t))])
def test_other_programs_files(model, file, tmp_path, change):
    assert_same(bf.load(without_note(file, tmp_path, change)), model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtype_and_environment(model, file, monkeypatch, dtype):
    monkeypatch.setenv("BORINGFUSION_MODEL", str(file))
    found = bf.load(dtype=dtype)
    assert found.dtype == dtype and next(found.vae.parameters()).dtype == dtype
    assert_same(found, model, dtype)


def test_training_on_a_loaded_model_leaves_the_file_alone(file):
    before = file.read_bytes()
    found = bf.load(file)
    with torch.no_grad():
        for parameter in found.unet.parameters():
            parameter.add_(1)
    assert file.read_bytes() == before


# ---- SD 2.x --------------------------------------------------------------------------------------


def test_second_generation(second, tmp_path):
    second.save(tmp_path / "two.safetensors", dtype=torch.float32)
    names = load_file(tmp_path / "two.safetensors")
    assert "cond_stage_model.model.transformer.resblocks.1.attn.in_proj_weight" in names
    assert_same(bf.load(tmp_path / "two.safetensors"), second)
    last = {n.replace("s.1.", "s.23."): t + 1 for n, t in names.items() if "resblocks.1." in n}
    plain = without_note(tmp_path / "two.safetensors", tmp_path, lambda tensors: tensors | last)
    with pytest.warns(UserWarning, match="does not say what its UNet predicts"):
        assert_same(bf.load(plain), second)


@pytest.mark.parametrize("name", ["sd21", "sd21-base"])
def test_what_a_published_file_predicts_is_known(second, tmp_path, name, recwarn):
    second.save(tmp_path / "two.safetensors", dtype=torch.float32)
    plain = without_note(tmp_path / "two.safetensors", tmp_path, lambda tensors: tensors)
    sd = bf.load(plain.rename(tmp_path / SOURCES[name].file))
    assert sd.schedule.prediction_type == {"sd21": "v_prediction", "sd21-base": "epsilon"}[name]
    assert not recwarn.list


def test_second_generation_as_a_folder(second, tmp_path):
    """Its tokenizer fills up with "!", and says so."""
    second.save(tmp_path / "two", dtype=torch.float32)
    assert_same(bf.load(tmp_path / "two"), second)


# ---- write ---------------------------------------------------------------------------------------


def test_the_file_is_like_any_new_file(file):
    (file.parent / "other").touch()
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE((file.parent / "other").stat().st_mode)
    assert [path.name for path in file.parent.glob("*.partial")] == []


def test_saving_over_the_file_that_is_mapped(model, tmp_path):
    path = tmp_path / "model.safetensors"
    model.save(path, dtype=torch.float32)
    found = bf.load(path)
    with torch.no_grad():
        found.unet.conv_out.bias.add_(1)
    found.save(path, dtype=torch.float32)
    assert_same(bf.load(path), found)


def test_a_failing_save_leaves_the_old_file(model, file, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(file.read_bytes())
    monkeypatch.setattr("boringfusion_lite.saving.save_file", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.save(path)
    assert path.read_bytes() == file.read_bytes() and len(list(tmp_path.iterdir())) == 1


def test_a_file_has_no_room_for_clip(model, tiny_clip, tmp_path):
    with pytest.raises(ValueError, match="without room for CLIP"):
        bf.save(model, tmp_path / "model.safetensors", clip=tiny_clip)
    assert not list(tmp_path.iterdir())


# ---- what does not fit ---------------------------------------------------------------------------

WHERE = {
    "text_encoder": "cond_stage_model.transformer.text_model.final_layer_norm.bias",
    "unet": "model.diffusion_model.out.2.bias",
    "vae": "first_stage_model.decoder.conv_out.bias",
}


@pytest.mark.parametrize(("part", "note"), [*zip(PARTS, [True] * 3), ("unet", False)])
def test_a_weight_is_missing_left_over_or_of_another_shape(file, tmp_path, part, note):
    name, path = WHERE[part], tmp_path / "broken.safetensors"
    notes = {NOTE: metadata(file)[NOTE]} if note else {}
    for change, words in (
        (lambda t: t.pop(name), f"1 missing: {name} ["),
        (lambda t: t.update({f"{name}es": torch.ones(2, 3)}), f"1 not expected: {name}es [2, 3]"),
        (lambda t: t.update({name: torch.ones(7)}), f"1 of another shape: {name} [7] instead of"),
        (lambda t: t.update(v_pred=torch.ones(1)), "1 not expected: v_pred [1]"),
    ):
        tensors = load_file(file)
        change(tensors)
        save_file(tensors, path, notes)
        refused(path, "do not fit", words)


@pytest.mark.parametrize("note", ["", "{}", "[]", '{"unet": 3}'])
def test_a_damaged_note(file, tmp_path, note):
    save_file(load_file(file), tmp_path / "m.safetensors", {NOTE: note})
    refused(tmp_path / "m.safetensors", "the note in it is damaged")


def test_a_layer_without_which_the_shape_is_unknown(file, tmp_path):
    def change(tensors):
        return {n: t for n, t in tensors.items() if "middle_block.1" not in n}

    refused(without_note(file, tmp_path, change), "a layer of the network is missing", "attn2.to_k")


def test_another_family_is_refused_before_anything_is_built(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "UNet", None)
    monkeypatch.setattr(checkpoint, "TextEncoder", None)
    lora = {"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": torch.zeros(4, 8)}
    save_file(lora, tmp_path / "crayon.safetensors")
    refused(tmp_path / "crayon.safetensors", "holds a LoRA", "Load the model")


@pytest.mark.parametrize("keep", [100, 0.5, 0.999])
def test_a_truncated_file(file, tmp_path, keep):
    whole = file.read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(whole[: keep if keep > 1 else int(len(whole) * keep)])
    refused(path, "cut short or damaged", "Delete it and fetch it again")


def test_a_folder_around_a_single_file(file):
    refused(file.parent, "it has no model_index.json", file.name, error=FileNotFoundError)


# ---- what diffusers makes of it ------------------------------------------------------------------


def difference(ours, theirs):
    assert ours.shape == theirs.shape and theirs.std() > 1e-2
    return (ours - theirs).abs().max().item()


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("generation", ["model", "second"])
@torch.no_grad()
def test_diffusers_opens_our_file(request, tmp_path, generation):
    """Its own conversion of the names, and then the same numbers from every network."""
    diffusers = pytest.importorskip("diffusers")
    ours = request.getfixturevalue(generation)
    ours.save(tmp_path / "folder")  # only its settings are read
    ours.save(tmp_path / "file.safetensors", dtype=torch.float32)
    if generation == "second":
        config = tmp_path / "folder" / "unet" / "config.json"
        config.write_text(config.read_text().replace("{", '{"use_linear_projection": true,', 1))
    theirs = diffusers.StableDiffusionPipeline.from_single_file(
        tmp_path / "file.safetensors", config=str(tmp_path / "folder"), local_files_only=True
    )
    theirs.set_progress_bar_config(disable=True)
    theirs.scheduler = diffusers.DDIMScheduler.from_config(ours.schedule.to_config())
    ids, x = ours.tokenize(PROMPT), ours.noise(3, 64, 64)
    assert difference(ours.text_encoder(ids), theirs.text_encoder(ids)[0]) < 1e-5
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert difference(ours.vae.moments(image)[0], theirs.vae.encode(image).latent_dist.mean) < 1e-5
    assert difference(ours.vae.decoder(x), theirs.vae.decoder(x)) < 1e-4
    *_, last = ours.sample(PROMPT, steps=3, noise=x)
    latents = theirs(PROMPT, num_inference_steps=3, latents=x, output_type="latent").images
    assert difference(last.x, latents) < 1e-4


# ---- folders as others write them ----------------------------------------------------------------


@pytest.fixture
def folder(model, tmp_path):
    model.save(tmp_path / "folder", dtype=torch.float32)
    return tmp_path / "folder"


def rewrite(folder, change=dict, ending=".safetensors", save=save_file):
    """Every part's weights, changed, in a file of another name and format."""
    for path in [*folder.glob("*/*.safetensors")]:
        tensors = change(load_file(path))
        path.unlink()
        stem = "pytorch_model" if path.stem == "model" and ending.endswith("bin") else path.stem
        save(tensors, path.parent / f"{stem}{ending}")


@pytest.mark.parametrize("save", [torch.save, old])
@pytest.mark.parametrize("ending", [".bin", ".fp16.bin"])
def test_folder_of_bin_files(model, folder, ending, save):
    rewrite(folder, ending=ending, save=save)
    assert_same(bf.load(folder), model)


def test_variants_of_a_folder(model, folder):
    rewrite(folder, ending=".fp16.safetensors")
    assert_same(bf.load(folder), model)
    assert_same(bf.load(folder, variant="fp16"), model)
    with pytest.raises(FileNotFoundError, match=r"variant 'non_ema'.*found model\.fp16"):
        bf.load(folder, variant="non_ema")


def older(tensors):
    """Attention as the VAE of diffusers had it up to 0.16, with its linear layers."""
    renames = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    changed = {}
    for name, tensor in tensors.items():
        if "coder.mid_block.attentions" in name:
            for new, before in renames.items():
                name = name.replace(f".{new}.", f".{before}.")
        changed[name] = tensor
    return changed


def linear(tensors):
    """1x1 convolutions as linear layers, which SD 2.x has in its UNet."""
    flat = ("proj_in.weight", "proj_out.weight")
    return {n: t[:, :, 0, 0].contiguous() if n.endswith(flat) else t for n, t in tensors.items()}


def convolutions(tensors):
    """The VAE's attention as 1x1 convolutions."""
    return {
        name: tensor[:, :, None, None] if "coder.mid_block.attentions.0.to_" in name
        and name.endswith("weight") else tensor
        for name, tensor in tensors.items()
    }  # fmt: skip


@pytest.mark.parametrize("change", [older, linear, convolutions])
def test_older_names_and_shapes_of_layers(model, folder, change):
    before = {path: load_file(path) for path in folder.glob("*/*.safetensors")}
    rewrite(folder, change)
    assert any(
        [(n, t.shape) for n, t in load_file(path).items()]
        != [(n, t.shape) for n, t in tensors.items()]
        for path, tensors in before.items()
    )
    assert_same(bf.load(folder), model)
