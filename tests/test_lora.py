"""LoRAs beside diffusers, read from files of every layout, and what they promise.

Two proofs that ours is theirs: the file's matrices, merged by hand and in float64 into diffusers'
modules under their names; and, where `peft` is installed, diffusers loading the very file.
"""

import copy
import importlib.util
import json
import math
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch.func import functional_call

import boringfusion_lite as bf
from boringfusion_lite.clip import TextEncoder
from boringfusion_lite.lora import ATTENTION, LowRank, layers, new_lora, parameters, updated
from boringfusion_lite.lora_files import known_keys, stems
from boringfusion_lite.unet import UNet

PROMPT, BOUND = "a red house", 1e-4
LAYOUTS = {  # beginnings of UNet and text encoder, sign between names, two endings
    "kohya": ("lora_unet_", "lora_te_", "_", ".lora_down.weight", ".lora_up.weight"),
    "kohya, te1": ("lora_unet_", "lora_te1_", "_", ".lora_down.weight", ".lora_up.weight"),
    "peft": ("unet.", "text_encoder.", ".", ".lora_A.weight", ".lora_B.weight"),
    "diffusers": ("unet.", "text_encoder.", ".", ".lora.down.weight", ".lora.up.weight"),
}
needs_peft = pytest.mark.skipif(not importlib.util.find_spec("peft"), reason="peft not installed")
pytestmark = pytest.mark.filterwarnings("ignore")


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def drawn_lora(sd, where=".*", seed=0, rank=3, alpha=1.5):
    """A LoRA that does something to every layer that matches."""
    lora = new_lora(sd, rank, where, alpha, seed)
    for number, (place, (down, up, _)) in enumerate(lora.items()):
        lora[place] = LowRank(down, 0.2 * drawn(*up.shape, seed=number), alpha)
    return lora


def ours(sd, *loras):
    *_, last = bf.with_loras(sd, *loras).sample(PROMPT, steps=3, seed=1)
    return last.x


def same(network, other):
    state, others = network.state_dict(), other.state_dict()
    return state.keys() == others.keys() and all(torch.equal(state[n], others[n]) for n in state)


# ---- diffusers -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pipe(tiny_folder):
    return pytest.importorskip("diffusers").StableDiffusionPipeline.from_pretrained(tiny_folder)


@pytest.fixture
def theirs(pipe):
    """A pipeline of diffusers, with modules of its own, of the tiny model's weights."""
    own = {part: copy.deepcopy(getattr(pipe, part)) for part in ("unet", "text_encoder")}
    fresh = type(pipe)(**pipe.components | own, requires_safety_checker=False)
    fresh.set_progress_bar_config(disable=True)
    return fresh


def latents(pipe, sd, **options):
    arguments = {"num_inference_steps": 3, "latents": sd.noise(1), "output_type": "latent"}
    return pipe(PROMPT, **arguments, **options).images


def their_layers(pipe):
    """Every layer that a LoRA may change: its name in diffusers' pipeline -> the layer."""
    text = pipe.text_encoder
    whole = "" if hasattr(text, "text_model") else "text_model."  # transformers 5 leaves it out
    named = [(f"unet.{name}", layer) for name, layer in pipe.unet.named_modules()]
    named += [(f"text_encoder.{whole}{name}", layer) for name, layer in text.named_modules()]
    kinds = torch.nn.Linear | torch.nn.Conv2d
    return {name: layer for name, layer in named if isinstance(layer, kinds)}


def write(file, layout, found, alpha=1.5, rank=3):
    """A random LoRA for these layers -> {name: change}, in float64."""
    unet, text, sign, down_end, up_end = LAYOUTS[layout]
    tensors, changes = {}, {}
    for number, (name, layer) in enumerate(found.items()):
        out, *into = layer.weight.shape
        down = drawn(rank, *into, seed=number) * math.prod(into) ** -0.5
        up = 0.2 * drawn(out, rank, *[1] * (len(into) - 1), seed=1000 + number)
        part, _, rest = name.partition(".")
        stem = {"unet": unet, "text_encoder": text}[part] + rest.replace(".", sign)
        tensors |= {stem + down_end: down, stem + up_end: up}
        scale = 1.0
        if layout.startswith("kohya"):
            tensors[f"{stem}.alpha"] = torch.tensor(alpha)
            scale = alpha / rank
        product = up.double().flatten(1) @ down.double().flatten(1)
        changes[name] = scale * product.reshape(layer.weight.shape)
    save_file(tensors, file)
    return changes


def merge_by_hand(pipe, changes, strength):
    """W + strength * change for all layers of a pipeline of diffusers, in float64."""
    found = their_layers(pipe)
    with torch.no_grad():
        for name, change in changes.items():
            weight = found[name].weight
            weight.copy_(weight.double() + strength * change)
    return pipe


@pytest.mark.reference
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layer_as_merged_by_hand(layout, theirs, tiny_sd, tmp_path):
    plain = latents(theirs, tiny_sd)
    changes = write(tmp_path / "lora.safetensors", layout, their_layers(theirs))
    expected = latents(merge_by_hand(theirs, changes, 0.7), tiny_sd)
    lora = bf.load_lora(tmp_path / "lora.safetensors", tiny_sd)
    assert lora.keys() == layers(tiny_sd).keys()  # every convolution among them
    assert (expected - plain).abs().max() > 0.1
    torch.testing.assert_close(ours(tiny_sd, (lora, 0.7)), expected, atol=BOUND, rtol=BOUND)
    torch.testing.assert_close(ours(tiny_sd), plain, atol=BOUND, rtol=BOUND)


@pytest.mark.reference
def test_two_as_merged_by_hand(theirs, tiny_sd, tmp_path):
    files, found = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"], their_layers(theirs)
    some = {name: layer for name, layer in found.items() if "attn" in name}
    changes = [write(files[0], "kohya", found, rank=2), write(files[1], "peft", some, rank=5)]
    merge_by_hand(merge_by_hand(theirs, changes[0], 0.7), changes[1], -0.4)
    loras = [bf.load_lora(file, tiny_sd) for file in files]
    mine = ours(tiny_sd, (loras[0], 0.7), (loras[1], -0.4))
    torch.testing.assert_close(mine, latents(theirs, tiny_sd), atol=BOUND, rtol=BOUND)


@needs_peft
@pytest.mark.reference
@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_diffusers_loads_the_same_file(layout, strength, theirs, tiny_sd, tmp_path):
    kinds = ("attn", "proj_", "ff.net", "resnets", "samplers")  # as trained by kohya's tools
    found = their_layers(theirs).items()
    if layout == "diffusers":
        kinds = ("attn1", "attn2")
    some = {n: layer for n, layer in found if any(kind in n for kind in kinds)}
    if layout != "diffusers":  # all of the text encoder too
        some |= {n: layer for n, layer in found if n.startswith("text_encoder")}
    write(tmp_path / "lora.safetensors", layout, some)
    theirs.load_lora_weights(tmp_path, weight_name="lora.safetensors", adapter_name="it")
    theirs.set_adapters(["it"], [strength])
    lora = bf.load_lora(tmp_path / "lora.safetensors", tiny_sd)
    mine = ours(tiny_sd, (lora, strength))
    torch.testing.assert_close(mine, latents(theirs, tiny_sd), atol=BOUND, rtol=BOUND)


@needs_peft
@pytest.mark.reference
def test_diffusers_loads_two(theirs, tiny_sd, tmp_path):
    loras, found = [], their_layers(theirs)
    for name, rank, alpha in (("a", 2, 1.0), ("b", 4, 8.0)):
        some = {n: layer for n, layer in found.items() if "attn" in n}
        write(tmp_path / f"{name}.safetensors", "kohya", some, alpha, rank)
        theirs.load_lora_weights(tmp_path, weight_name=f"{name}.safetensors", adapter_name=name)
        loras.append(bf.load_lora(tmp_path / f"{name}.safetensors", tiny_sd))
    theirs.set_adapters(["a", "b"], [0.9, -0.5])
    mine = ours(tiny_sd, (loras[0], 0.9), (loras[1], -0.5))
    torch.testing.assert_close(mine, latents(theirs, tiny_sd), atol=BOUND, rtol=BOUND)


@needs_peft
@pytest.mark.reference
@pytest.mark.parametrize("layout", ["diffusers", "kohya"])
@pytest.mark.parametrize(
    "where", [".*attention.*", r"unet\.(?!time|conv_out|down\.0).*", r"text_encoder.*mlp_in"]
)
def test_diffusers_loads_what_we_save(layout, where, theirs, tiny_sd, tmp_path):
    lora = drawn_lora(tiny_sd, where)
    bf.save_lora(lora, tmp_path / "ours.safetensors", tiny_sd, layout)
    theirs.load_lora_weights(tmp_path, weight_name="ours.safetensors")
    mine = ours(tiny_sd, (lora, 1))
    torch.testing.assert_close(mine, latents(theirs, tiny_sd), atol=BOUND, rtol=BOUND)


@needs_peft
@pytest.mark.reference
@pytest.mark.parametrize("rslora", [False, True])
def test_we_load_what_diffusers_saves_with_its_settings(rslora, theirs, tiny_sd, tmp_path):
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    config = LoraConfig(
        r=4, lora_alpha=10, target_modules=["to_q", "to_out.0", "proj"], use_rslora=rslora,
        init_lora_weights=False, rank_pattern={"to_q": 2}, alpha_pattern={"attn2.to_q": 3},
    )  # fmt: skip
    theirs.unet.add_adapter(config)
    theirs.save_lora_weights(
        tmp_path,
        unet_lora_layers=get_peft_model_state_dict(theirs.unet),
        unet_lora_adapter_metadata=config.to_dict(),
    )
    lora = bf.load_lora(tmp_path / "pytorch_lora_weights.safetensors", tiny_sd)
    assert Counter(len(x.down) for x in lora.values()) == {4: 12, 2: 8}
    mine = ours(tiny_sd, (lora, 1))
    torch.testing.assert_close(mine, latents(theirs, tiny_sd), atol=BOUND, rtol=BOUND)


# ---- files ---------------------------------------------------------------------------------------

Q = "unet.down.1.transformer.block.self_attention.q"
OUT = "unet.up.2.transformer.block.cross_attention.out"
TEXT = "text_encoder.layers.1.attention.v"
SPELLINGS = {  # of the layers Q, OUT and TEXT, by hand
    "first diffusers": (
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.{}.weight",
        "up_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.to_out_lora.{}.weight",
        "text_encoder.text_model.encoder.layers.1.self_attn.to_v_lora.{}.weight",
    ),
    "diffusers with processors": (
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.{}.weight",
        "unet.up_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.to_out_lora.{}.weight",
        "text_encoder.text_model.encoder.layers.1.self_attn.v_proj.lora_linear_layer.{}.weight",
    ),
    "diffusers": (
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora.{}.weight",
        "unet.up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0.lora.{}.weight",
        "text_encoder.text_model.encoder.layers.1.self_attn.v_proj.lora_linear_layer.{}.weight",
    ),
    "kohya": (
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_{}.weight",
        "lora_unet_up_blocks_1_attentions_0_transformer_blocks_0_attn2_to_out_0.lora_{}.weight",
        "lora_te_text_model_encoder_layers_1_self_attn_v_proj.lora_{}.weight",
    ),
    "kohya, original blocks": (
        "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.lora_{}.weight",
        "lora_unet_output_blocks_2_1_transformer_blocks_0_attn2_to_out_0.lora_{}.weight",
        "lora_te_text_model_encoder_layers_1_self_attn_v_proj.lora_{}.weight",
    ),
}


@pytest.mark.parametrize("keys", SPELLINGS.values(), ids=SPELLINGS)
def test_spellings(keys, tiny_sd, tmp_path):
    expected, tensors = drawn_lora(tiny_sd, "|".join(map(r"({})".format, (Q, OUT, TEXT)))), {}
    for place, key in zip((Q, OUT, TEXT), keys):
        tensors[key.format("down")], tensors[key.format("up")], _ = expected[place]
    save_file(tensors, tmp_path / "lora.safetensors")
    lora = bf.load_lora(tmp_path / "lora.safetensors", tiny_sd)
    assert lora.keys() == {Q, OUT, TEXT}
    for place, (down, up, alpha) in lora.items():
        assert torch.equal(down, expected[place].down) and torch.equal(up, expected[place].up)
        assert alpha == 3  # the rank, where none is written


def test_no_key_means_two_layers(tiny_sd):
    begins = Counter()
    for place in layers(tiny_sd):
        new, old = stems(place, tiny_sd)
        begins.update({*new, *old})
    assert set(begins.values()) == {1}


def test_the_264_layers_of_kohya_files_for_sd_15():
    """Those of its usual LoRAs: all of the transformers, in the UNet and in the text encoder."""
    with torch.device("meta"):
        sd = SimpleNamespace(unet=UNet(), text_encoder=TextEncoder())
    usual = [p for p in layers(sd) if ".transformer." in p or p.startswith("text_encoder")]
    assert Counter(place.partition(".")[0] for place in usual) == {"unet": 192, "text_encoder": 72}
    keys = known_keys(sd)
    for key, place in {
        "lora_te_text_model_encoder_layers_11_mlp_fc2": "text_encoder.layers.11.mlp_out",
        "lora_unet_mid_block_attentions_0_proj_in": "unet.middle.0.transformer.proj_in",
        "lora_unet_up_blocks_3_attentions_2_transformer_blocks_0_ff_net_0_proj":
            "unet.up.11.transformer.block.feed_forward.project",
        "lora_unet_output_blocks_11_1_transformer_blocks_0_ff_net_0_proj":
            "unet.up.11.transformer.block.feed_forward.project",
        "lora_unet_output_blocks_2_1_conv": "unet.up.2.resample.conv",
        "lora_unet_input_blocks_3_0_op": "unet.down.3.resample.conv",
        "lora_unet_down_blocks_0_resnets_0_time_emb_proj": "unet.down.1.res.time",
    }.items():  # fmt: skip
        assert keys[f"{key}.lora_up.weight"] == (place, "up")
        assert keys[f"{key}.alpha"] == (place, "alpha")


@pytest.mark.parametrize("layout", ["diffusers", "kohya"])
def test_what_was_saved_is_loaded(layout, tiny_sd, tmp_path):
    lora, file = drawn_lora(tiny_sd), tmp_path / "lora.safetensors"
    bf.save_lora(lora, file, tiny_sd, layout)
    again = bf.load_lora(file, tiny_sd)
    assert again.keys() == lora.keys() and [*tmp_path.iterdir()] == [file]
    kohya = layout == "kohya"
    assert {x.alpha for x in again.values()} == {1.5 if kohya else 3}
    for place, (_, up, _) in lora.items():
        assert torch.equal(again[place].up, up if kohya else up / 2)
    torch.testing.assert_close(ours(tiny_sd, (again, 1)), ours(tiny_sd, (lora, 1)))
    with pytest.raises(ValueError, match="diffusers, kohya"):
        bf.save_lora(lora, file, tiny_sd, "lycoris")


def test_alpha_from_peft_settings(tiny_sd, tmp_path):
    lora, file = drawn_lora(tiny_sd, ATTENTION, alpha=3), tmp_path / "lora.safetensors"
    bf.save_lora(lora, file, tiny_sd)
    said = {"unet.lora_alpha": 12, "unet.alpha_pattern": {r"attn1\.to_(q|k)": 6, "to_q": 9}}
    save_file(load_file(file), file, metadata={"lora_adapter_metadata": json.dumps(said)})
    alphas = {place: x.alpha for place, x in bf.load_lora(file, tiny_sd).items()}
    assert alphas[Q] == 6 and alphas[Q.replace("self", "cross")] == 9 and alphas[OUT] == 12


# ---- what does not fit ---------------------------------------------------------------------------


def refused(sd, tensors, folder, *words):
    save_file(tensors, folder / "lora.safetensors")
    with pytest.raises(ValueError) as caught:
        bf.load_lora(folder / "lora.safetensors", sd)
    for word in words:
        assert word in str(caught.value), f"{word!r} is not in: {caught.value}"
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("width", "family"),
    [(768, "Stable Diffusion 1.x"), (1024, "Stable Diffusion 2.x"), (2048, "SDXL")],
)
@pytest.mark.parametrize(
    "key",
    [
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_{}.weight",
        "lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_k.lora_{}.weight",
        "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.{}.weight",
        "unet.down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k.lora.{}.weight",
    ],
)
def test_another_family_is_named(width, family, key, tiny_sd, tmp_path):
    tensors = {key.format("down"): drawn(4, width), key.format("up"): drawn(640, 4)}
    refused(
        tiny_sd, tensors, tmp_path, f"LoRA for {family}", f"vectors {width} wide", "are 32 wide"
    )


def test_what_is_strange_is_listed(tiny_sd, tmp_path):
    bf.save_lora(drawn_lora(tiny_sd, ATTENTION), tmp_path / "lora.safetensors", tiny_sd)
    good = load_file(tmp_path / "lora.safetensors")
    stem = next(iter(good)).removesuffix(".lora_A.weight")
    cases = [
        ({f"{stem}.lora_magnitude_vector": drawn(32)}, ["1 of its 65", "magnitude", "DoRA"]),
        ({f"{stem.replace('blocks.0', 'blocks.7')}.lora_A.weight": drawn(3, 32)}, ["blocks.7"]),
        ({"vae.decoder.conv_in.lora_A.weight": drawn(3, 32)}, ["vae.decoder.conv_in"]),
        ({"unet.conv_out.lora_A.weight": drawn(3, 32, 3, 3)}, ["incomplete", "unet.conv_out"]),
        ({"unet.conv_out.alpha": drawn(1)}, ["incomplete", "unet.conv_out"]),
        ({f"{stem}.lora_A.weight": drawn(3, 40)}, ["another shape", "1 of its 32", "[3, 40]"]),
        ({f"{stem}.lora_B.weight": drawn(32, 2)}, ["another shape", "1 of its 32", "[32, 2]"]),
    ]
    for change, words in cases:
        refused(tiny_sd, good | change, tmp_path, *words)
    refused(tiny_sd, {}, tmp_path, "is no LoRA")
    refused(tiny_sd, {"model.weight": drawn(2, 2)}, tmp_path, "1 of its 1", "model.weight")


def test_no_file_and_a_damaged_one(tiny_sd, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        bf.load_lora(tmp_path / "nowhere.safetensors", tiny_sd)
    bf.save_lora(drawn_lora(tiny_sd), tmp_path / "lora.safetensors", tiny_sd)
    whole = (tmp_path / "lora.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-50])
    with pytest.raises(ValueError, match="not a complete"):
        bf.load_lora(tmp_path / "cut.safetensors", tiny_sd)


def test_strengths_and_models_that_make_no_sense(tiny_sd):
    lora = drawn_lora(tiny_sd, Q)
    for strength in (math.nan, math.inf, "0.8"):
        with pytest.raises(ValueError, match="finite number"):
            bf.with_loras(tiny_sd, (lora, strength))
    for given_ in ([lora], [lora, 0.8], [(lora,)]):
        with pytest.raises(TypeError, match="with its strength"):
            bf.with_loras(tiny_sd, *given_)
    with pytest.raises(ValueError, match="no such layer"):
        bf.with_loras(tiny_sd, ({"unet.nowhere": lora[Q]}, 0.0))
    with pytest.raises(ValueError, match="another shape"):
        bf.with_loras(tiny_sd, ({TEXT: LowRank(drawn(3, 32), drawn(64, 3), 1.0)}, 1))
    with pytest.raises(ValueError, match="another shape"):
        bf.with_loras(tiny_sd, ({TEXT: LowRank(drawn(0, 32), drawn(32, 0), 1.0)}, 1))


# ---- promises ------------------------------------------------------------------------------------


def test_the_model_stays_and_shares_what_does_not_change(tiny_sd):
    lora = drawn_lora(tiny_sd, ATTENTION)
    before = copy.deepcopy(tiny_sd.unet)
    changed = bf.with_loras(tiny_sd, (lora, 0.8))
    assert same(before, tiny_sd.unet)  # so the way back is sd itself
    assert changed.text_encoder is tiny_sd.text_encoder and changed.vae is tiny_sd.vae
    for name, weight in changed.unet.named_parameters():
        mine = f"unet.{name.removesuffix('.weight')}" in lora
        old = tiny_sd.unet.get_parameter(name)
        assert torch.equal(weight, old) != mine and (weight is old) != mine


@given(st.floats(-2, 2), st.floats(-2, 2))
@settings(max_examples=6, deadline=None)
def test_strengths_add_and_order_does_not_matter(tiny_sd, one, other):
    a, b = drawn_lora(tiny_sd, ATTENTION), drawn_lora(tiny_sd, r"unet\.down.*", seed=5, rank=2)

    def weights(*loras):
        return bf.with_loras(tiny_sd, *loras).unet.state_dict()

    twice, once = weights((a, one), (a, other)), weights((a, one + other))
    assert all(torch.allclose(twice[n], once[n], atol=1e-6) for n in once)
    ab, ba = weights((a, one), (b, other)), weights((b, other), (a, one))
    assert all(torch.equal(ab[name], ba[name]) for name in ab)
    after = bf.with_loras(bf.with_loras(tiny_sd, (a, one)), (b, other)).unet.state_dict()
    assert all(torch.allclose(ab[name], after[name], atol=1e-6) for name in ab)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_slider_leaves_no_trace(tiny_folder, dtype):
    sd = bf.load(tiny_folder, device="cpu", dtype=dtype)
    lora, other = drawn_lora(sd), drawn_lora(sd, seed=7)
    first = bf.with_loras(sd, (lora, 0.3))
    for strength in (1, -0.7, 0.1):
        bf.with_loras(sd, (lora, strength))
    for part in ("unet", "text_encoder"):
        assert same(getattr(bf.with_loras(sd, (lora, 0.3)), part), getattr(first, part))
        for nothing in ((), [(lora, 0)], [(lora, 0.0), (other, 0)]):
            assert same(getattr(bf.with_loras(sd, *nothing), part), getattr(sd, part))
        both = getattr(bf.with_loras(sd, (lora, 0.3), (other, 0)), part)
        assert same(both, getattr(first, part))
    weight = sd.unet.conv_out.weight
    down, up, alpha = lora["unet.conv_out"]
    exact = weight.double() + 0.3 * alpha / 3 * torch.einsum(
        "or,ricj->oicj", up.double()[:, :, 0, 0], down.double()
    )
    assert first.dtype == dtype
    tiny = torch.finfo(dtype).eps * exact.abs() + 1e-7  # rounded once
    assert ((first.unet.conv_out.weight.double() - exact).abs() <= tiny).all()


# ---- training ------------------------------------------------------------------------------------


def test_a_new_lora_changes_nothing(tiny_sd):
    lora = new_lora(tiny_sd, rank=2)
    assert len(lora) == 32 and all(x.down.shape[0] == 2 == x.alpha for x in lora.values())
    assert same(bf.with_loras(tiny_sd, (lora, 1)).unet, tiny_sd.unet)
    with pytest.raises(ValueError, match="No layer matches 'nothing'"):
        new_lora(tiny_sd, where="nothing")
    with pytest.raises(ValueError, match="rank = 0"):
        new_lora(tiny_sd, rank=0)


def test_a_lora_can_be_trained(sd):
    """Towards the noise that another LoRA makes the model predict."""
    x, t, context = drawn(2, 4, 8, 8), torch.tensor([3, 700]), sd.encode([PROMPT, ""])
    with torch.no_grad():
        target = bf.with_loras(sd, (drawn_lora(sd, ATTENTION), 1)).unet(x, t, context)
    sd.unet.requires_grad_(False)
    lora, losses = new_lora(sd, rank=3), []
    optimizer = torch.optim.Adam(parameters(lora), lr=0.03)
    for _ in range(30):
        eps = functional_call(sd.unet, updated(sd, (lora, 1))["unet"], (x, t, context))
        losses.append(torch.nn.functional.mse_loss(eps, target))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
    trained = bf.with_loras(sd, (lora, 1))
    assert not any(weight.requires_grad for weight in trained.unet.parameters())
    eps = functional_call(sd.unet, updated(sd, (lora, 1))["unet"], (x, t, context))
    torch.testing.assert_close(trained.unet(x, t, context), eps, atol=1e-6, rtol=0)
