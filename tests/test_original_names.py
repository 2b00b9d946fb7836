"""The rename rules of the original layout: every name and shape of SD 1.5, and nothing else.

`sd15_keys.txt` lists what v1-5-pruned-emaonly.safetensors holds: names and shapes, no weights.
All of it happens on the meta device and takes no memory.
"""

from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import CLIP_CONFIG, UNET_CONFIG, VAE_CONFIG
from torch import nn

from boringfusion_lite import original_names, original_settings, settings
from boringfusion_lite.clip import TextConfig, TextEncoder
from boringfusion_lite.fitting import check_fit
from boringfusion_lite.original_names import as_original, in_thirds, to_original, without_extras
from boringfusion_lite.schedule import Schedule
from boringfusion_lite.unet import UNet, UNetConfig
from boringfusion_lite.vae import VAE, VAEConfig

SD_15 = {
    name: tuple(int(side) for side in shape.split("x"))
    for name, shape in (
        line.split() for line in (Path(__file__).parent / "sd15_keys.txt").read_text().splitlines()
    )
}
SD_1 = {"text_encoder": TextConfig(), "unet": UNetConfig(), "vae": VAEConfig()}
SD_2 = {
    "text_encoder": TextConfig(width=1024, layers=23, heads=16, activation="gelu"),
    "unet": UNetConfig(sample_size=96, heads=(5, 10, 20, 20), context_width=1024),
    "vae": VAEConfig(sample_size=768),
}
BUFFERS = {  # in the file too, and no weights
    **dict.fromkeys(["betas", "alphas_cumprod", "alphas_cumprod_prev", "posterior_variance"], 1000),
    **dict.fromkeys(["sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod"], 1000),
    **dict.fromkeys(["log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod"], 1000),
    **dict.fromkeys(["sqrt_recipm1_alphas_cumprod", "posterior_log_variance_clipped"], 1000),
    **dict.fromkeys(["posterior_mean_coef1", "posterior_mean_coef2", "logvar"], 1000),
    **dict.fromkeys(["model_ema.decay", "model_ema.num_updates", "scale_factor"], 1),
    "model_ema.diffusion_modelinput_blocks00bias": 320,
    "cond_stage_model.transformer.text_model.embeddings.position_ids": 77,
    "cond_stage_model.logit_scale": 1,
    "cond_stage_model.transformer.text_projection.weight": 768,
    "first_stage_model.loss.logvar": 1,
    "first_stage_model.loss.discriminator.main.0.weight": 64,
    "embedding_manager.string_to_param_dict.*": 768,
}


def empty(shapes):
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def networks(configs):
    with torch.device("meta"):
        return nn.ModuleDict(
            {
                "text_encoder": TextEncoder(configs["text_encoder"]),
                "unet": UNet(configs["unet"]),
                "vae": VAE(configs["vae"]),
            }
        )


def original(configs):
    """All names and shapes of a model of these settings in the original layout."""
    model = networks(configs).state_dict()
    return as_original({to_original(name, configs): tensor for name, tensor in model.items()})


def shapes_of(tensors):
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def test_every_name_and_shape_of_stable_diffusion_1_5():
    assert len(SD_15) == 1130
    assert shapes_of(original(SD_1)) == SD_15


def test_settings_of_stable_diffusion_1_5_from_its_shapes():
    found = original_settings.from_shapes(SD_15)
    assert found == SD_1 | {"schedule": Schedule()}


def test_what_is_no_weight_is_left_out():
    whole = without_extras(empty(SD_15 | BUFFERS))
    assert shapes_of(whole) == SD_15


def test_without_the_root_that_transformers_5_dropped():
    flat = {name.replace("transformer.text_model.", "transformer."): s for name, s in SD_15.items()}
    flat["cond_stage_model.transformer.embeddings.position_ids"] = (1, 77)
    assert flat.keys() != SD_15.keys()
    assert shapes_of(without_extras(empty(flat))) == SD_15


@pytest.mark.parametrize("name", ["v_pred", "cond_stage_model.transformer.x", "model.betas.x"])
def test_a_stranger_is_not_left_out(name):
    assert name.split(".")[-1] in "".join(without_extras(empty({name: (1,)})))


# ---- SD 2.x --------------------------------------------------------------------------------------


def test_settings_of_stable_diffusion_2_1_from_its_shapes():
    """Its 24th layer is in the file, and left out."""
    tensors = original(SD_2)
    layer = "cond_stage_model.model.transformer.resblocks."
    assert f"{layer}22.attn.in_proj_weight" in tensors and f"{layer}23.ln_1.bias" not in tensors
    last = {n.replace(f"{layer}22.", f"{layer}23."): t for n, t in tensors.items() if "s.22." in n}
    whole = without_extras(tensors | last | empty({"cond_stage_model.model.text_projection": (1,)}))
    found = original_settings.from_shapes(shapes_of(whole))
    assert found == SD_2 | {"schedule": Schedule(prediction_type="v_prediction")}
    check_fit({to_original(n, SD_2): t for n, t in networks(SD_2).state_dict().items()}, whole, "")


def test_q_k_and_v_of_openclip():
    prefix = "cond_stage_model.model.transformer.resblocks.0.attn."
    whole = {
        f"{prefix}in_proj_weight": torch.arange(6.0)[:, None].repeat(1, 2),
        f"{prefix}in_proj_bias": torch.arange(6.0),
    }
    cut = in_thirds(whole)
    assert {name: tensor.tolist() for name, tensor in cut.items() if "bias" in name} == {
        f"{prefix}q.bias": [0, 1],
        f"{prefix}k.bias": [2, 3],
        f"{prefix}v.bias": [4, 5],
    }
    back = as_original(cut)
    assert back.keys() == whole.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in whole.items())


# ---- any size ------------------------------------------------------------------------------------

levels = st.integers(1, 3)


@hypothesis.settings(max_examples=8, deadline=None)
@given(levels, st.integers(1, 2), st.integers(1, 2), st.booleans(), st.data())
def test_no_two_weights_share_a_name(depth, blocks, vae_blocks, second, data):
    """And the shapes give the settings back, for any number of levels and blocks."""
    attention = tuple(data.draw(st.booleans()) for _ in range(depth))
    channels = tuple(64 * (1 + level) for level in range(depth))
    configs = {
        "text_encoder": TextConfig(
            vocabulary=9, width=64, layers=2, heads=1, activation="gelu" if second else "quick_gelu"
        ),
        "unet": UNetConfig(
            sample_size=96 if second else 64,
            channels=channels,
            attention=attention,
            heads=tuple(width // 64 if second else 8 for width in channels),
            blocks_per_level=blocks,
            context_width=64,
        ),
        "vae": VAEConfig(
            sample_size=768 if second else 512, channels=channels, blocks_per_level=vae_blocks
        ),
    }
    ours = networks(configs).state_dict()
    tensors = without_extras(original(configs))
    assert len(tensors) == len(ours)
    check_fit({to_original(name, configs): t for name, t in ours.items()}, tensors, "")
    found = original_settings.from_shapes(shapes_of(tensors))
    assert {part: found[part] for part in configs} == configs


def test_the_note_keeps_what_shapes_do_not_tell():
    configs = {"text_encoder": CLIP_CONFIG.text, "unet": UNET_CONFIG, "vae": VAE_CONFIG}
    schedule = replace(Schedule.linear(), prediction_type="v_prediction")
    note = original_settings.write_note(**configs, schedule=schedule)
    assert original_settings.read_note(note) == configs | {"schedule": schedule}
    assert original_settings.from_shapes(shapes_of(original(configs)))["unet"] != UNET_CONFIG


# ---- against diffusers' own conversion -----------------------------------------------------------


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_diffusers_converts_these_names_to_all_of_its_own():
    diffusers = pytest.importorskip("diffusers")
    transformers = pytest.importorskip("transformers")
    utils = pytest.importorskip("diffusers.loaders.single_file_utils")
    fields = {part: getattr(settings, f"{part}_json")(SD_1[part]) for part in ("unet", "vae")}
    with torch.device("meta"):
        theirs = {
            "unet": diffusers.UNet2DConditionModel(sample_size=64, cross_attention_dim=768),
            "vae": diffusers.AutoencoderKL.from_config(fields["vae"]),
            "text": transformers.CLIPTextModel(
                transformers.CLIPTextConfig(**settings.text_json(SD_1["text_encoder"]))
            ),
        }
    converted = {
        "unet": utils.convert_ldm_unet_checkpoint(empty(SD_15), fields["unet"]),
        "vae": utils.convert_ldm_vae_checkpoint(empty(SD_15), fields["vae"]),
        "text": utils.convert_ldm_clip_checkpoint(empty(SD_15)),
    }
    for part, model in theirs.items():
        expected = shapes_of(model.state_dict())
        found = shapes_of(converted[part])
        assert {name.removeprefix("text_model."): shape for name, shape in found.items()} == {
            name.removeprefix("text_model."): shape for name, shape in expected.items()
        }, part
    assert original_names.UNET + "input_blocks.0.0.weight" in SD_15
