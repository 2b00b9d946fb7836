"""SD 2.x is a config of the same modules: other text tower, linear projections, v-prediction.

A tiny random model with the settings of SD 2.1, saved by diffusers and transformers, gives the
same numbers here as there. Nothing is downloaded. Run with `-s` for the differences.
"""

import json
import shutil
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st
from test_reference_networks import BOUND, difference, drawn, some_ids, stirred
from tiny import TOKENIZER

import boringfusion_lite as bf
from boringfusion_lite import checkpoint, merging, probe, settings
from boringfusion_lite.clip import TextConfig, TextEncoder
from boringfusion_lite.tokenizer import Tokenizer
from boringfusion_lite.unet import UNet

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.reference,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

PROMPT, NEGATIVE = "photo of a couch, photorealistic!", "a red house at night"
UNET = {  # as in SD 2.1's unet/config.json, but small
    "sample_size": 8,
    "block_out_channels": [32, 64],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "layers_per_block": 1,
    "attention_head_dim": [2, 4],
    "cross_attention_dim": 48,
    "norm_num_groups": 8,
    "use_linear_projection": True,
    "upcast_attention": True,
    "only_cross_attention": False,
    "dual_cross_attention": False,
    "num_class_embeds": None,
}
TEXT = {
    "hidden_act": "gelu",
    "hidden_size": 48,
    "intermediate_size": 192,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "pad_token_id": 1,
    "projection_dim": 512,
}
VAE = {
    "block_out_channels": [8, 8, 16, 16],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "sample_size": 64,
}
SCHEDULE = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": False,
    "prediction_type": "v_prediction",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "trained_betas": None,
}


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory):
    """The files as they lie in SD 2.1: they disagree about the padding, and "!" is what counts."""
    folder = shutil.copytree(TOKENIZER, tmp_path_factory.mktemp("sd2") / "tokenizer")
    start, end = "<|startoftext|>", "<|endoftext|>"
    names = {"bos_token": start, "eos_token": end, "unk_token": end}
    config = {"pad_token": end, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}
    written = {
        "special_tokens_map.json": names | {"pad_token": "!"},
        "tokenizer_config.json": names | config,
    }
    for name, content in written.items():
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def folder(tokenizer_folder):
    """Their pipeline, saved by them."""
    theirs = diffusers.StableDiffusionPipeline(
        vae=stirred(diffusers.AutoencoderKL(**VAE)),
        text_encoder=stirred(transformers.CLIPTextModel(transformers.CLIPTextConfig(**TEXT))),
        tokenizer=transformers.CLIPTokenizer.from_pretrained(tokenizer_folder),
        unet=stirred(diffusers.UNet2DConditionModel(**UNET)),
        scheduler=diffusers.DDIMScheduler.from_config(SCHEDULE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    theirs.save_pretrained(tokenizer_folder.parent / "model")
    return tokenizer_folder.parent / "model"


@pytest.fixture(scope="module")
def theirs(folder):
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def sd(folder):
    return bf.load(folder)


# ---- the text ------------------------------------------------------------------------------------


@pytest.mark.parametrize("saved", [False, True])
def test_padding_is_that_of_the_folder(tokenizer_folder, folder, saved):
    tokenizer = Tokenizer.load(folder / "tokenizer" if saved else tokenizer_folder)
    theirs = transformers.CLIPTokenizer.from_pretrained(tokenizer_folder)
    prompts = ["", PROMPT, "a cat ! !! on 2 mats", "a " * 80]
    options = {"padding": "max_length", "max_length": 77, "truncation": True}
    assert tokenizer(prompts).tolist() == theirs(prompts, **options)["input_ids"]
    assert tokenizer("").tolist() == [[49_406, 49_407] + [0] * 75]
    assert Tokenizer.load()("").tolist() == [[49_406] + [49_407] * 76]
    assert tokenizer.words("a cat!")[:2] == [("a", [320]), ("cat", [2368])]


@torch.no_grad()
def test_text_encoder(sd, theirs):
    assert sd.text_encoder.config == TextConfig(width=48, layers=2, heads=4, activation="gelu")
    expected = theirs.text_encoder(some_ids()).last_hidden_state
    assert difference("text", sd.text_encoder(some_ids()), expected) < BOUND
    expected = theirs.encode_prompt(PROMPT, "cpu", 1, False)[0]
    assert difference("context", sd.encode(PROMPT), expected) < BOUND


@torch.no_grad()
def test_one_layer_fewer_is_the_penultimate_layer(tmp_path):
    """What SD 2.x was trained on: the last but one layer of three, then the final norm."""
    fields = TEXT | {"num_hidden_layers": 3}
    three = stirred(transformers.CLIPTextModel(transformers.CLIPTextConfig(**fields)))
    states = three(some_ids(), output_hidden_states=True).hidden_states[-2]
    norm = getattr(three, "text_model", three).final_layer_norm
    two = transformers.CLIPTextModel(transformers.CLIPTextConfig(**TEXT))
    two.load_state_dict(three.state_dict(), strict=False)
    two.save_pretrained(tmp_path)
    ours = checkpoint.load_text_encoder(tmp_path).eval()
    assert difference("penultimate", ours(some_ids()), norm(states)) < BOUND


# ---- the UNet ------------------------------------------------------------------------------------


@torch.no_grad()
def test_unet(sd, theirs):
    assert sd.unet.config.heads == (2, 4)
    x, context, t = drawn(2, 4, 9, 8), drawn(2, 77, 48), torch.tensor([3, 998])
    expected = theirs.unet(x, t, context).sample
    assert difference("UNet", sd.unet(x, t, context), expected) < BOUND


def test_scores_beyond_half_precision():
    """SD 2.1's `upcast_attention`: scores q k may pass 65,504, the kernel has float32 inside."""
    q, k = (100 * drawn(1, 2, 16, 64, seed=seed) for seed in (1, 2))
    v = drawn(1, 2, 16, 64, seed=3)
    assert (q @ k.transpose(-1, -2)).abs().max() > 65_504
    half = F.scaled_dot_product_attention(q.half(), k.half(), v.half())
    full = F.scaled_dot_product_attention(q.half().float(), k.half().float(), v.half().float())
    assert difference("attention", half.float(), full) < 2e-3


def test_stable_diffusion_2_1_at_full_size():
    """Its settings as they stand in its folder; 865,910,724 and 340,387,840 parameters."""
    unet = {
        "_class_name": "UNet2DConditionModel",
        "act_fn": "silu",
        "attention_head_dim": [5, 10, 20, 20],
        "block_out_channels": [320, 640, 1280, 1280],
        "center_input_sample": False,
        "cross_attention_dim": 1024,
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "downsample_padding": 1,
        "dual_cross_attention": False,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "in_channels": 4,
        "layers_per_block": 2,
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-05,
        "norm_num_groups": 32,
        "num_class_embeds": None,
        "only_cross_attention": False,
        "out_channels": 4,
        "sample_size": 96,
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        "use_linear_projection": True,
        "upcast_attention": True,
    }
    text = {
        "hidden_act": "gelu",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 77,
        "num_attention_heads": 16,
        "num_hidden_layers": 23,
        "vocab_size": 49408,
    }
    fields = {name: value for name, value in unet.items() if not name.startswith("_")}
    with torch.device("meta"):
        ours = UNet(settings.unet_config(unet)), TextEncoder(settings.text_config(text))
        theirs = (
            diffusers.UNet2DConditionModel(**fields),
            transformers.CLIPTextModel(transformers.CLIPTextConfig(**text)),
        )
    for mine, reference, count in zip(ours, theirs, (865_910_724, 340_387_840)):
        sizes = [sum(p.numel() for p in model.parameters()) for model in (mine, reference)]
        assert sizes == [count, count]


# ---- v -------------------------------------------------------------------------------------------

SHAPE = (2, 4, 3, 5)


@tries(max_examples=40, deadline=None)
@given(st.integers(0, 999) | st.floats(0, 999), st.integers(0, 2**31))
def test_v_and_eps_are_one_turn_apart(t, seed):
    """v = sqrt(a) eps - sqrt(1 - a) x0 gives eps back, and the turn keeps lengths."""
    schedule, (x0, eps) = bf.Schedule(), drawn(2, *SHAPE, seed=seed).double()
    a = schedule.alpha_bar(t).double()
    x, v = schedule.add_noise(x0, eps, t), a.sqrt() * eps - (1 - a).sqrt() * x0
    torch.testing.assert_close(schedule.eps_from_v(v, x, t), eps, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(schedule.v_from_eps(eps, x, t), v, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(x**2 + v**2, x0**2 + eps**2, atol=1e-5, rtol=1e-5)


def test_v_for_every_picture_its_own_timestep():
    schedule, (x, v), t = bf.Schedule(), drawn(2, *SHAPE), torch.tensor([7, 800])
    alone = [schedule.eps_from_v(v[[i]], x[[i]], int(t[i])) for i in range(2)]
    assert torch.equal(schedule.eps_from_v(v, x, t), torch.cat(alone))
    with pytest.raises(ValueError, match="give equal ones, and one t each"):
        schedule.eps_from_v(v[:1], x, t)


def test_to_eps_leaves_noise_alone():
    x, answer = drawn(2, *SHAPE)
    assert bf.Schedule().to_eps(answer, x, 500) is answer
    schedule = bf.Schedule(prediction_type="v_prediction")
    assert torch.equal(schedule.to_eps(answer, x, 500), schedule.eps_from_v(answer, x, 500))


def test_a_model_that_predicts_the_picture_is_refused():
    with pytest.raises(ValueError, match="'sample' is not supported.*epsilon, v_prediction"):
        bf.Schedule(prediction_type="sample")


# ---- the whole way -------------------------------------------------------------------------------

SCHEDULERS = {
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "ddpm": ("DDPMScheduler", {"clip_sample": False}),
    "euler": ("EulerDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
}
GUIDANCES = [
    {"guidance_scale": 1.0},
    {"guidance_scale": 7.5},
    {"guidance_scale": 7.5, "guidance_rescale": 0.7},  # of v, not of the noise
]


@pytest.mark.parametrize("guidance", GUIDANCES, ids=["off", "on", "rescaled"])
@pytest.mark.parametrize("sampler", SCHEDULERS)
def test_same_latents_same_picture(sd, theirs, sampler, guidance):
    name, fields = SCHEDULERS[sampler]
    steps = {"num_inference_steps": 6}
    if sampler == "dpmpp_2m":
        steps = {"timesteps": sd.schedule.timesteps(6).tolist()}
    theirs.scheduler = getattr(diffusers, name).from_config(sd.schedule.to_config() | fields)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 4, 5, 9, generator=generator)  # and the noise of later steps after it
    options = {"height": 40, "width": 72, "negative_prompt": NEGATIVE, **guidance}
    expected = theirs(
        PROMPT, latents=x, generator=generator, output_type="latent", **options, **steps
    ).images
    *_, last = sd.sample(PROMPT, steps=6, seed=3, sampler=sampler, **options)
    assert difference(f"{sampler}, {guidance}", last.x, expected) < BOUND * expected.abs().max()
    if sampler == "ddim":
        with torch.no_grad():
            picture = theirs.vae.decode(expected / theirs.vae.config.scaling_factor).sample
            assert difference("picture", sd.vae.decode(last.x), picture) < BOUND


def test_forgetting_v_is_noticed(sd, monkeypatch):
    options = {"steps": 3, "seed": 3}
    *_, right = sd.sample(PROMPT, **options)
    monkeypatch.setattr(bf.Schedule, "to_eps", lambda self, answer, x, t: answer)
    *_, wrong = sd.sample(PROMPT, **options)
    assert (right.x - wrong.x).abs().max() > 0.1


def test_diffusers_opens_what_we_save(sd, tokenizer_folder, tmp_path):
    bf.save(sd, tmp_path, tokenizer=tokenizer_folder, dtype=torch.float32)
    again = bf.load(tmp_path)
    assert again.schedule == sd.schedule and again.schedule.prediction_type == "v_prediction"
    assert again.text_encoder.config == sd.text_encoder.config
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path)
    theirs.set_progress_bar_config(disable=True)
    *_, last = sd.sample(PROMPT, steps=3, seed=3)
    arguments = {"num_inference_steps": 3, "latents": sd.noise(3), "output_type": "latent"}
    assert difference("saved by us", last.x, theirs(PROMPT, **arguments).images) < BOUND


# ---- those who ask the UNet themselves -----------------------------------------------------------


@torch.no_grad()
def test_a_single_guess(sd):
    """Noise- and clean-guess of a v-model: x0 = sqrt(a) x - sqrt(1 - a) v, eps = what v says."""
    x, context, t = drawn(2, 4, 8, 8), sd.encode(PROMPT), torch.tensor([40, 900])
    v = sd.unet(x, t, context.expand(2, -1, -1))
    a = sd.schedule.alphas_cumprod[t].reshape(-1, 1, 1, 1)
    eps, x0 = probe.guess(sd, x, t, context)
    assert difference("noise-guess", eps, a.sqrt() * v + (1 - a).sqrt() * x) < BOUND
    assert difference("clean-guess", x0, a.sqrt() * x - (1 - a).sqrt() * v) < BOUND
    assert {row.name for row in probe.shape_trace(sd, PROMPT, 4)} >= {"eps", "clean-guess"}


def test_merging_with_a_noise_model_is_refused(sd):
    with pytest.raises(ValueError, match="different noise schedules"):
        merging.merge(sd, replace(sd, schedule=bf.Schedule()))


def test_the_padding_is_saved_too(sd, tmp_path):
    """Without a folder to copy the vocabulary from, the one that is written pads as the model's."""
    bf.save(sd, tmp_path / "folder")
    bf.save(sd, tmp_path / "single.safetensors")
    for path in ("folder", "single.safetensors"):
        again = bf.load(tmp_path / path)
        assert again.tokenize("a cat").tolist() == sd.tokenize("a cat").tolist(), path
        assert again.schedule == sd.schedule, path
