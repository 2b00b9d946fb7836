"""Our networks beside those of diffusers and transformers: same weights, same numbers.

Tiny random models pass through files in both directions, theirs to us and ours to them; nothing
is downloaded. Run with `-s` for the differences.
"""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import CLIP_CONFIG, TOKENIZER, UNET_CONFIG, VAE_CONFIG

import boringfusion_lite as bf
from boringfusion_lite import checkpoint, names, settings
from boringfusion_lite.attention import Attention
from boringfusion_lite.blocks import Downsample
from boringfusion_lite.clip import CLIP, TextConfig, TextEncoder
from boringfusion_lite.recipes import cropped
from boringfusion_lite.saving import renamed, write_json, write_weights
from boringfusion_lite.tokenizer import END, START
from boringfusion_lite.unet import UNet, UNetConfig
from boringfusion_lite.vae import VAE, VAEConfig

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.reference,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

BOUND = 1e-4  # float32
UNETS = {
    "one block a level, heads per level": UNET_CONFIG,
    "two blocks, three levels, one number of heads": UNetConfig(
        sample_size=16,
        channels=(32, 64, 64),
        attention=(True, True, False),
        heads=(4, 4, 4),
        blocks_per_level=2,
        context_width=24,
        groups=16,
    ),
    "attention at the deepest level too": UNetConfig(
        sample_size=8,
        channels=(16, 32, 32),
        attention=(False, True, True),
        heads=(2, 2, 8),
        blocks_per_level=1,
        context_width=32,
        groups=8,
    ),
}


def stirred(model):
    """Random numbers in every parameter: new norms are all ones and zeros, which hides mistakes."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.15 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def difference(what, ours, theirs):
    """The largest absolute difference, where the numbers themselves are not all tiny."""
    assert ours.shape == theirs.shape and theirs.std() > 1e-2
    distance = (ours - theirs).abs().max().item()
    print(f"{what}: {distance:.1e}")
    return distance


def their_unet(config):
    heads = config.heads[0] if len(set(config.heads)) == 1 else list(config.heads)
    fields = settings.unet_json(config) | {"attention_head_dim": heads}
    fields.pop("_class_name")
    return stirred(diffusers.UNet2DConditionModel(**fields))


def their_vae(config=VAE_CONFIG):
    fields = settings.vae_json(config)
    fields.pop("_class_name")
    return stirred(diffusers.AutoencoderKL(**fields))


def their_text_encoder(config=CLIP_CONFIG.text):
    fields = settings.text_json(config)
    return stirred(transformers.CLIPTextModel(transformers.CLIPTextConfig(**fields)))


def saved(model, config, their_name, folder):
    """Our model as a folder of the diffusers layout, in float32."""
    write_json(folder / "config.json", config)
    weights = renamed(model, their_name, torch.float32)
    name = checkpoint.WEIGHTS["_class_name" not in config]
    write_weights(folder, name, weights)
    return folder


# ---- the UNet ------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", UNETS.values(), ids=UNETS)
@pytest.mark.parametrize("size", [(8, 8), (15, 18), (16, 9)])
@torch.no_grad()
def test_unet(config, size, tmp_path):
    theirs = their_unet(config)
    theirs.save_pretrained(tmp_path)
    ours = checkpoint.load_unet(tmp_path)
    assert ours.config == config
    x, context, t = drawn(2, 4, *size), drawn(2, 77, config.context_width), torch.tensor([3, 998])
    assert difference("UNet", ours(x, t, context), theirs(x, t, context).sample) < BOUND


@torch.no_grad()
def test_diffusers_opens_our_unet(tmp_path):
    config = UNETS["two blocks, three levels, one number of heads"]
    ours = stirred(UNet(config))
    saved(ours, settings.unet_json(config), lambda n: names.unet_to_diffusers(n, config), tmp_path)
    theirs, report = diffusers.UNet2DConditionModel.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(report.values()), report
    x, context, t = drawn(2, 4, 8, 8), drawn(2, 77, 24), torch.tensor([0, 500])
    assert difference("UNet", ours(x, t, context), theirs(x, t, context).sample) < BOUND


# ---- the VAE -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vaes(tmp_path_factory):
    """Theirs and ours with quiet first layers, where a group norm's eps is no small matter."""
    folder = tmp_path_factory.mktemp("vae")
    theirs = their_vae()
    with torch.no_grad():
        for first in (theirs.encoder.conv_in, theirs.decoder.conv_in):
            first.weight *= 1e-3
            first.bias *= 1e-3
    theirs.save_pretrained(folder)
    return theirs, checkpoint.load_vae(folder)


@torch.no_grad()
def moments_and_picture(ours, theirs):
    """How far the two are apart in mean, log-variance and decoded picture."""
    images, z = drawn(2, 3, 64, 40).clamp(-1, 1), drawn(2, 4, 8, 5)
    (mean, logvar), latents = ours.moments(images), theirs.encode(images).latent_dist
    return [
        difference("VAE mean", mean, latents.mean),
        difference("VAE log-variance", logvar, latents.logvar),
        difference("VAE picture", ours.decode(z * 0.7), theirs.decode(z).sample),
    ]


def test_vae(vaes):
    theirs, ours = vaes
    assert ours.config == VAE_CONFIG
    assert max(moments_and_picture(ours, theirs)) < BOUND


def test_diffusers_opens_our_vae(tmp_path):
    config = VAEConfig(channels=(8, 16, 16, 16), blocks_per_level=2, groups=8, scaling_factor=0.7)
    ours = stirred(VAE(config))
    saved(ours, settings.vae_json(config), lambda n: names.vae_to_diffusers(n, config), tmp_path)
    theirs, report = diffusers.AutoencoderKL.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    assert theirs.config.scaling_factor == 0.7
    assert max(moments_and_picture(ours, theirs)) < BOUND


# ---- CLIP ----------------------------------------------------------------------------------------


def some_ids():
    """Three rows as the tokenizer makes them: start, words, end up to the end."""
    ids = torch.randint(0, 49_000, (3, 77), generator=torch.Generator().manual_seed(0))
    ids[:, 0], ids[0, 9:], ids[1, 40:], ids[2, 76] = 49_406, 49_407, 49_407, 49_407
    return ids


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    theirs = their_text_encoder()
    theirs.save_pretrained(folder)
    return theirs, checkpoint.load_text_encoder(folder)


@torch.no_grad()
def states(ours, theirs):
    return difference("text", ours(some_ids()), theirs(some_ids()).last_hidden_state)


def test_text_encoder(texts):
    theirs, ours = texts
    assert ours.config == CLIP_CONFIG.text
    assert states(ours, theirs) < BOUND


@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_text_encoder_from_older_files(texts, prefix, tmp_path):
    """With or without `text_model.` in front, and with the position numbers that are no weight."""
    theirs, ours = texts
    fields = settings.text_json(CLIP_CONFIG.text)
    weights = renamed(ours, names.text_encoder_to_transformers, torch.float32)
    weights = {prefix + name.removeprefix("text_model."): w for name, w in weights.items()}
    weights[prefix + "embeddings.position_ids"] = torch.arange(77)[None]
    write_json(tmp_path / "config.json", fields)
    write_weights(tmp_path, "model.safetensors", weights)
    assert states(checkpoint.load_text_encoder(tmp_path), theirs) < BOUND


def test_transformers_opens_our_text_encoder(tmp_path):
    config = TextConfig(width=48, layers=3, heads=4)
    ours = stirred(TextEncoder(config))
    saved(ours, settings.text_json(config), names.text_encoder_to_transformers, tmp_path)
    theirs, report = transformers.CLIPTextModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    assert states(ours, theirs) < BOUND


@torch.no_grad()
def test_transformers_opens_our_clip(tmp_path):
    ours = stirred(CLIP(CLIP_CONFIG))
    saved(ours, settings.clip_json(CLIP_CONFIG), names.clip_to_transformers, tmp_path)
    theirs, report = transformers.CLIPModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    ids, images = some_ids(), drawn(2, 3, 64, 64)
    logits = ours.similarity(ours.embed_image(images), ours.embed_text(ids))
    expected = theirs(input_ids=ids, pixel_values=images).logits_per_image
    assert difference("CLIP logits", logits, expected) < BOUND


@torch.no_grad()
def test_clip_reads_the_first_end_token_where_words_were_added(tmp_path):
    """Ids of added words lie above that of the end token: it is not the highest any more."""
    text = replace(CLIP_CONFIG.text, vocabulary=49_410)
    ours = stirred(CLIP(replace(CLIP_CONFIG, text=text)))
    config = settings.clip_json(ours.config)
    config["text_config"] |= {"bos_token_id": START, "eos_token_id": END, "pad_token_id": END}
    saved(ours, config, names.clip_to_transformers, tmp_path)
    theirs = transformers.CLIPModel.from_pretrained(tmp_path)
    ids = torch.tensor([[START, 320, 49_409, 539, END, END], [START, 49_408, END, END, END, END]])
    images = drawn(2, 3, 64, 64)
    logits = ours.similarity(ours.embed_image(images), ours.embed_text(ids))
    expected = theirs(input_ids=ids, pixel_values=images).logits_per_image
    assert difference("CLIP logits", logits, expected) < BOUND
    assert cropped(ids).shape == (2, 5)


# ---- what the tests above are for: mistakes that raise no error ----------------------------------


def wrong_eps(vae):
    for module in vae.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.eps = 1e-5


def padding_on_all_sides(vae):
    for module in vae.modules():
        if isinstance(module, Downsample):
            module.pad_right_bottom, module.conv.padding = False, (1, 1)


@pytest.mark.parametrize("mistake", [wrong_eps, padding_on_all_sides])
def test_a_mistake_in_the_vae_is_noticed(vaes, mistake):
    theirs, ours = vaes
    wrong = copy.deepcopy(ours)
    mistake(wrong)
    assert max(moments_and_picture(wrong, theirs)) > 1e-2


def test_another_gelu_is_noticed(texts, monkeypatch):
    theirs, ours = texts
    for layer in ours.layers:
        monkeypatch.setattr(layer, "activation", F.gelu)
    assert states(ours, theirs) > 1e-3


def test_a_missing_causal_mask_is_noticed(texts, monkeypatch):
    theirs, ours = texts
    attend = Attention.forward
    monkeypatch.setattr(Attention, "forward", lambda self, x, causal: attend(self, x))
    assert states(ours, theirs) > 1e-2


# ---- the whole pipeline --------------------------------------------------------------------------

PROMPT, NEGATIVE = "photo of a couch, photorealistic", "a red house at night"
SCHEDULERS = {
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "ddpm": ("DDPMScheduler", {"clip_sample": False}),
    "euler": ("EulerDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
}


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory):
    """Their pipeline, saved by them, and the same folder opened by us."""
    folder = tmp_path_factory.mktemp("pipeline") / "theirs"
    schedule = bf.Schedule().to_config()
    theirs = diffusers.StableDiffusionPipeline(
        vae=their_vae(),
        text_encoder=their_text_encoder(),
        tokenizer=transformers.CLIPTokenizer.from_pretrained(TOKENIZER),
        unet=their_unet(UNET_CONFIG),
        scheduler=diffusers.DDIMScheduler.from_config(schedule),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    theirs.set_progress_bar_config(disable=True)
    theirs.save_pretrained(folder)
    return theirs, bf.load(folder)


@pytest.mark.parametrize("guidance", [1.0, 7.5])
@pytest.mark.parametrize("sampler", SCHEDULERS)
def test_same_latents_same_picture(pipelines, sampler, guidance):
    """Their DPM++ 2M would cut the 1000 timesteps into one more piece, so it is given our table."""
    theirs, ours = pipelines
    name, fields = SCHEDULERS[sampler]
    steps = {"num_inference_steps": 6}
    if sampler == "dpmpp_2m":
        steps = {"timesteps": ours.schedule.timesteps(6).tolist()}
    fields = {**ours.schedule.to_config(), **fields}
    theirs.scheduler = getattr(diffusers, name).from_config(fields)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 4, 5, 9, generator=generator)  # and the noise of later steps after it
    expected = theirs(
        PROMPT,
        negative_prompt=NEGATIVE,
        guidance_scale=guidance,
        latents=x,
        generator=generator,
        height=40,
        width=72,
        output_type="pt",
        **steps,
    ).images
    options = {"negative_prompt": NEGATIVE, "guidance_scale": guidance, "sampler": sampler}
    *_, last = ours.sample(PROMPT, steps=6, seed=3, height=40, width=72, **options)
    with torch.no_grad():
        picture = (ours.vae.decode(last.x) / 2 + 0.5).clamp(0, 1)
    assert ((0 < expected) & (expected < 1)).float().mean() > 0.3  # not clipped away
    assert difference(f"{sampler}, guidance {guidance}", picture, expected) < BOUND


def test_diffusers_opens_what_we_save(tiny_folder, tiny_sd):
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(tiny_folder)
    theirs.set_progress_bar_config(disable=True)
    arguments = {"num_inference_steps": 3, "latents": tiny_sd.noise(3), "output_type": "latent"}
    *_, last = tiny_sd.sample(PROMPT, steps=3, seed=3)
    assert difference("saved by us", last.x, theirs(PROMPT, **arguments).images) < BOUND


# ---- Stable Diffusion 1.5 at full size, without its weights --------------------------------------

SD_15 = {
    "unet": (
        UNet,
        lambda: diffusers.UNet2DConditionModel(sample_size=64, cross_attention_dim=768),
        lambda name: names.unet_to_diffusers(name, UNetConfig()),
        859_520_964,
    ),
    "text encoder": (
        TextEncoder,
        lambda: transformers.CLIPTextModel(
            transformers.CLIPTextConfig(
                hidden_size=768,
                intermediate_size=3072,
                num_hidden_layers=12,
                num_attention_heads=12,
            )
        ),
        names.text_encoder_to_transformers,
        123_060_480,
    ),
    "vae": (
        VAE,
        lambda: diffusers.AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
        ),
        lambda name: names.vae_to_diffusers(name, VAEConfig()),
        83_653_863,
    ),
}


@pytest.mark.parametrize(("ours", "theirs", "their_name", "count"), SD_15.values(), ids=SD_15)
def test_our_defaults_are_stable_diffusion_1_5(ours, theirs, their_name, count):
    with torch.device("meta"):
        ours, theirs = ours().state_dict(), theirs().state_dict()
    assert sum(weight.numel() for weight in ours.values()) == count
    shapes = {their_name(name).removeprefix("text_model."): w.shape for name, w in ours.items()}
    assert shapes == {name.removeprefix("text_model."): w.shape for name, w in theirs.items()}
