"""Each kind of file that people hand over as a model is recognised by its names and shapes."""

import pytest

from boringfusion_lite import families
from boringfusion_lite.families import check, recognise

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model."
FIRST = f"{UNET}input_blocks.0.0.weight"
KEYS = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
WORDS = "transformer.text_model.embeddings.token_embedding.weight"
OPEN_WORDS = "model.token_embedding.weight"
VAE_ALONE = {"encoder.conv_in.weight": (128, 3, 3, 3), "decoder.conv_in.weight": (512, 4, 3, 3)}
DECODER = {VAE + "decoder.conv_in.weight": (512, 4, 3, 3)}
SD_1 = {FIRST: (320, 4, 3, 3), KEYS: (320, 768), TEXT + WORDS: (49408, 768), **DECODER}
SD_2 = {FIRST: (320, 4, 3, 3), KEYS: (320, 1024), TEXT + OPEN_WORDS: (49408, 1024), **DECODER}
EMA = {"model_ema.diffusion_modelinput_blocks00weight": (320, 4, 3, 3)}
BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
DIFFUSERS = {"conv_in.weight": (320, 4, 3, 3), "down_blocks.0.resnets.0.conv1.weight": (320,) * 4}

RUN = {
    "SD 1.x": (SD_1, families.SD_1),
    "SD 1.x, also with the average over its training": (SD_1 | EMA, families.SD_1),
    "SD 1.x as transformers 5 has it": (
        {n.replace("text_model.", ""): s for n, s in SD_1.items()},
        families.SD_1,
    ),
    "SD 1.x of another size": ({**SD_1, KEYS: (32, 32), FIRST: (32, 4, 3, 3)}, families.SD_1),
    "SD 2.x": (SD_2, families.SD_2),
}

REFUSED = {
    "kohya's LoRA": (
        {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": (4, 320, 1, 1)},
        ["a LoRA", "Load the model"],
    ),
    "diffusers' LoRA": ({f"unet.{BLOCK}.lora_A.weight": (4, 320)}, ["a LoRA"]),
    "an older LoRA of diffusers": ({f"{BLOCK}_lora.down.weight": (4, 320)}, ["a LoRA"]),
    "a LoHa": ({"lora_unet_x.hada_w1_a": (4, 320)}, ["a LoRA"]),
    "ControlNet": ({"control_model.input_hint_block.0.weight": (16, 3, 3, 3)}, ["a ControlNet"]),
    "ControlNet beside a whole model": (
        {**SD_1, "control_model.time_embed.0.weight": (1280, 320)},
        ["a ControlNet"],
    ),
    "diffusers' ControlNet": (
        {**DIFFUSERS, "controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3)},
        ["a ControlNet"],
    ),
    "AnimateDiff": ({"down_blocks.0.motion_modules.0.temporal.proj": (320, 320)}, ["motion"]),
    "IP-Adapter": ({"image_proj.proj.weight": (3072, 1024)}, ["an IP-Adapter"]),
    "Flux": ({"double_blocks.0.img_attn.qkv.weight": (9216, 3072)}, ["a Flux model"]),
    "SD 3": (
        {UNET + "joint_blocks.0.x_block.attn.qkv.weight": (4608, 1536)},
        ["Stable Diffusion 3"],
    ),
    "SDXL": (
        {
            FIRST: (320, 4, 3, 3),
            "conditioner.embedders.0.transformer.text_model.embeddings.x": (49408, 768),
            **DECODER,
        },
        ["Stable Diffusion XL", "two text encoders"],
    ),
    "SDXL's UNet of diffusers": (
        {**DIFFUSERS, "add_embedding.linear_1.weight": (1280, 2816)},
        ["Stable Diffusion XL"],
    ),
    "inpainting": ({**SD_1, FIRST: (320, 9, 3, 3)}, ["inpainting", "9 channels", "mask="]),
    "inpainting, SD 2.x": ({**SD_2, FIRST: (320, 9, 3, 3)}, ["inpainting"]),
    "diffusers' UNet for inpainting": ({**DIFFUSERS, "conv_in.weight": (320, 9, 3, 3)}, ["9 ch"]),
    "InstructPix2Pix": ({**SD_1, FIRST: (320, 8, 3, 3)}, ["takes a picture beside its text"]),
    "depth": ({**SD_2, FIRST: (320, 5, 3, 3)}, ["takes a picture beside its text"]),
    "upscaler": ({**SD_2, UNET + "label_emb.weight": (1000, 1024)}, ["takes a picture"]),
    "averages alone": (EMA | DECODER, ["EMA", "emaonly"]),
    "UNet alone": ({FIRST: (320, 4, 3, 3)}, ["without its VAE or text encoder"]),
    "without a VAE": (
        {n: s for n, s in SD_1.items() if not n.startswith(VAE)},
        ["without its VAE or text encoder"],
    ),
    "VAE": (VAE_ALONE, ["a VAE alone"]),
    "VAE under its name in a whole file": (DECODER, ["a VAE alone"]),
    "text encoder": (
        {"text_model.embeddings.token_embedding.weight": (49408, 768)},
        ["text encoder or CLIP alone"],
    ),
    "diffusers' UNet": (DIFFUSERS, ["UNet of a diffusers folder", "model_index.json"]),
    "a word of diffusers": ({"<cat-toy>": (768,)}, ["textual-inversion", "new word"]),
    "a word as .safetensors": ({"emb_params": (8, 768)}, ["textual-inversion"]),
    "a word as .pt": ({"string_to_param.*": (1, 768)}, ["textual-inversion"]),
    "something else": (
        {f"layer{i}.weight": (3, 3, 3, 3) for i in range(9)},
        ["unknown here", "layer0.weight [3, 3, 3, 3]"],
    ),
}


@pytest.mark.parametrize(("shapes", "name"), RUN.values(), ids=RUN)
def test_families_that_run(shapes, name):
    assert check(shapes, "a.safetensors") == (name, "")


@pytest.mark.parametrize(("shapes", "words"), REFUSED.values(), ids=REFUSED)
def test_families_that_do_not(shapes, words):
    with pytest.raises(ValueError) as caught:
        check(shapes, "my/file.ckpt")
    message = str(caught.value)
    assert message.startswith("my/file.ckpt holds ")
    for word in words:
        assert word in message, f"{word!r} is not in: {message}"
    assert len(message) < 400, "under five lines"


def test_every_rule_is_met_by_some_file():
    met = {recognise(shapes).name for shapes, _ in (*RUN.values(), *REFUSED.values())}
    assert {family.name for _, family in families.RULES} <= met
