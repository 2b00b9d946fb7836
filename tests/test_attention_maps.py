"""Attention maps: true probabilities, an untouched UNet, bounded memory, words in their slots."""

import copy
import math

import hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import UNET_CONFIG

from boringfusion_lite import names, settings
from boringfusion_lite.attention_maps import (
    attention_layers,
    attention_maps,
    probabilities,
    prompt_words,
)
from boringfusion_lite.saving import renamed
from boringfusion_lite.tokenizer import LENGTH
from boringfusion_lite.unet import UNet, UNetConfig

THREE_LEVELS = UNetConfig(
    sample_size=8,
    channels=(16, 32, 32),
    attention=(False, True, True),
    heads=(2, 2, 8),
    blocks_per_level=1,
    context_width=24,
    groups=8,
)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module", params=[UNET_CONFIG, THREE_LEVELS], ids=["two", "three levels"])
def unet(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet(request.param).eval()
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter += 0.15 * drawn(*parameter.shape)
    return unet


def inputs(unet, batch=2, size=(8, 8), dtype=torch.float32):
    x, context = drawn(batch, 4, *size), 3 * drawn(batch, 77, unet.config.context_width)
    return x.to(dtype), torch.tensor(500), context.to(dtype)


def hooks(unet):
    return [h for m in unet.modules() for h in (*m._forward_hooks, *m._forward_pre_hooks)]


@torch.no_grad()
def recorded(unet, fed, **options):
    with attention_maps(unet, **options) as seen:
        out = unet(*fed)
    return seen, out


# ---- the numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cross", "self"])
@torch.no_grad()
def test_it_is_the_softmax_of_the_layers_own_input(unet, kind):
    fed, caught = inputs(unet, size=(8, 12)), {}
    layers = attention_layers(unet, kind)
    taken = [
        layer.register_forward_pre_hook(lambda m, args, n=name: caught.update({n: args}))
        for name, layer in layers.items()
    ]
    seen, _ = recorded(unet, fed, kind=kind)
    for hook in taken:
        hook.remove()
    assert seen.layers == list(layers) and seen.timesteps == [500]
    for name, layer in layers.items():
        x, context = (*caught[name], caught[name][0])[:2]
        q, k = x @ layer.q.weight.T, context @ layer.k.weight.T
        width = q.shape[-1] // layer.heads
        for head in range(layer.heads):
            part = slice(head * width, (head + 1) * width)
            scores = q[..., part] @ k[..., part].mT / math.sqrt(width)
            torch.testing.assert_close(seen.at(name)[:, head], scores.softmax(-1))
        assert math.prod(seen.sizes[name]) == seen.at(name).shape[2]


@pytest.mark.parametrize("kind", ["cross", "self"])
@torch.no_grad()
def test_with_the_values_it_gives_the_layers_output(unet, kind):
    caught = {}
    layers = attention_layers(unet, kind)
    for name, layer in layers.items():
        layer.v.register_forward_hook(lambda m, a, out, n=name: caught.update({("v", n): out}))
        layer.register_forward_hook(lambda m, a, out, n=name: caught.update({("out", n): out}))
    seen, _ = recorded(unet, inputs(unet), kind=kind)
    for name, layer in layers.items():
        layer.v._forward_hooks.clear(), layer._forward_hooks.clear()
        mixed = seen.at(name) @ layer.split_heads(caught["v", name])
        output = layer.out(mixed.transpose(1, 2).flatten(2))
        torch.testing.assert_close(output, caught["out", name], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(8, 8), (16, 8), (9, 6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@torch.no_grad()
def test_rows_add_up_and_the_unet_stays_as_it_is(unet, size, dtype):
    unet = copy.deepcopy(unet).to(dtype)
    fed = inputs(unet, size=size, dtype=dtype)
    before = unet(*fed)
    seen, during = recorded(unet, fed)
    assert torch.equal(during, before) and torch.equal(unet(*fed), before)
    assert not hooks(unet)
    for maps in seen.maps.values():
        assert maps.dtype == torch.float32 and maps.min() >= 0
        torch.testing.assert_close(maps.sum(-1), torch.ones(maps.shape[:-1]))
    assert seen.bytes == sum(maps.nbytes for maps in seen.maps.values()) > 0


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@torch.no_grad()
def test_diffusers_finds_the_same(unet):
    diffusers = pytest.importorskip("diffusers")
    from diffusers.models.attention_processor import AttnProcessor

    config = unet.config
    heads = config.heads[0] if len(set(config.heads)) == 1 else list(config.heads)
    fields = settings.unet_json(config) | {"attention_head_dim": heads}
    fields.pop("_class_name")
    theirs = diffusers.UNet2DConditionModel(**fields)
    weights = renamed(unet, lambda n: names.unet_to_diffusers(n, config), torch.float32)
    theirs.load_state_dict(weights)
    found = {"self": [], "cross": []}

    class Recorder(AttnProcessor):
        def __call__(self, attn, hidden_states, encoder_hidden_states=None, **options):
            kind, scores = "self" if encoder_hidden_states is None else "cross", []
            original = attn.get_attention_scores
            attn.get_attention_scores = lambda *a: scores.append(original(*a)) or scores[-1]
            out = super().__call__(attn, hidden_states, encoder_hidden_states, **options)
            attn.get_attention_scores = original
            found[kind].append(scores[0].unflatten(0, (-1, attn.heads)))
            return out

    theirs.eval().set_attn_processor(Recorder())
    x, t, context = inputs(unet)
    theirs(x, t, context)
    for kind, maps in found.items():
        seen, _ = recorded(unet, (x, t, context), kind=kind)
        assert len(maps) == len(seen.layers) >= 3
        for layer, wanted in zip(seen.layers, maps):
            assert wanted.std() > 1e-3
            torch.testing.assert_close(seen.at(layer), wanted, atol=1e-5, rtol=1e-4)


# ---- what is kept --------------------------------------------------------------------------------


def test_layers_and_heads_can_be_chosen(unet):
    fed = inputs(unet)
    whole, _ = recorded(unet, fed)
    name = whole.layers[1]
    part, _ = recorded(unet, fed, layers=[name], mean_heads=True)
    assert part.layers == [name]
    torch.testing.assert_close(part.at(name), whole.at(name).mean(dim=1, keepdim=True))


@torch.no_grad()
def test_every_call_is_kept_with_its_timestep_and_the_half_asked_for(unet):
    x, _, context = inputs(unet, batch=4)
    with attention_maps(unet, half="prompt") as prompt, attention_maps(unet, half="empty") as empty:
        for t in (900, 100):
            unet(x, torch.tensor([t] * 4), context)
    both, _ = recorded(unet, (x, 100, context))
    assert prompt.timesteps == empty.timesteps == [900, 100]
    for layer in both.layers:
        assert torch.equal(torch.cat([empty.at(layer, 1), prompt.at(layer)]), both.at(layer))
        assert not torch.equal(prompt.at(layer, 0), prompt.at(layer, 1))


def test_a_guided_run_of_the_pipeline(sd):
    with attention_maps(sd.unet, half="prompt") as seen:
        *_, last = sd.sample("a red house", steps=3)
    with attention_maps(sd.unet) as alone:
        *_, again = sd.sample("a red house", steps=3)
    assert torch.equal(last.x, again.x)
    assert len(seen.timesteps) == 3 and seen.at(seen.layers[0]).shape[0] == 1
    assert alone.at(seen.layers[0]).shape[0] == 2


def test_memory_is_bounded(unet):
    with pytest.raises(MemoryError, match="mean_heads=True"):
        recorded(unet, inputs(unet), limit=10_000)
    assert not hooks(unet)


def test_bad_requests_are_told_and_leave_no_hook(unet):
    with pytest.raises(ValueError, match="choose from cross, self"):
        recorded(unet, inputs(unet), kind="both")
    with pytest.raises(ValueError, match="choose from down"):
        recorded(unet, inputs(unet), layers=["up 99"])
    with pytest.raises(ValueError, match="all, empty, prompt"):
        recorded(unet, inputs(unet), half="left")
    with pytest.raises(ValueError, match="batch of 3 has no halves"):
        recorded(unet, inputs(unet, batch=3), half="prompt")
    with pytest.raises(ZeroDivisionError), attention_maps(unet):
        1 / 0  # noqa: B018
    with attention_maps(unet) as nothing:
        pass
    with pytest.raises(ValueError, match="inside the block"):
        nothing.share([1])
    seen, _ = recorded(unet, inputs(unet))
    with pytest.raises(KeyError, match="1 calls"):
        seen.at(seen.layers[0], 4)
    with pytest.raises(ValueError, match="not places"):
        seen.seen_from(seen.layers[0], 0, 0)
    assert not hooks(unet)


# ---- views ---------------------------------------------------------------------------------------


def test_shares_of_all_words_add_up_to_one(unet, tokenizer):
    seen, _ = recorded(unet, inputs(unet, size=(16, 8)))
    words = prompt_words(tokenizer, "photo of a couch, photorealistic")
    for options in ({}, {"layers": seen.layers[0]}, {"head": 1}, {"calls": [0], "picture": 1}):
        maps = [seen.share(word.slots, **options) for word in words]
        torch.testing.assert_close(sum(maps), torch.ones_like(maps[0]))
    assert maps[0].shape == max(seen.sizes.values())
    one = seen.share([3, 4], seen.layers[0], 0, head=1)
    wanted = seen.at(seen.layers[0])[0, 1][:, [3, 4]].sum(-1)
    torch.testing.assert_close(one.flatten(), wanted)


def test_where_a_place_looks(unet):
    seen, _ = recorded(unet, inputs(unet, size=(8, 16)), kind="self")
    layer = seen.layers[0]
    height, width = seen.sizes[layer]
    view = seen.seen_from(layer, 1, 2, head=0, picture=1)
    assert view.shape == (height, width) and view.sum().item() == pytest.approx(1, abs=1e-5)
    assert torch.equal(view.flatten(), seen.at(layer)[1, 0, width + 2])


def test_a_word_may_take_several_slots(tokenizer):
    words = prompt_words(tokenizer, "photo of a couch, photorealistic")
    texts = [word.text for word in words]
    assert texts == "start|photo|of|a|couch|,|photorealistic|end|padding".split("|")
    assert words[6].slots == (6, 7) and words[7].slots == (8,)


@hypothesis.settings(deadline=None)
@given(st.integers(0, 90))
def test_the_words_cover_all_slots_once(tokenizer, count):
    words = prompt_words(tokenizer, " ".join(["photorealistic"] * count))
    assert [slot for word in words for slot in word.slots] == list(range(LENGTH))


@hypothesis.settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(0, 9))
def test_averaging_heads_is_averaging_them(heads, pixels, keys, seed):
    q, k = drawn(2, heads, pixels, 4, seed=seed), drawn(2, heads, keys, 4, seed=seed + 1)
    apart, mean = probabilities(q, k), probabilities(q, k, mean_heads=True)
    assert apart.shape == (2, heads, pixels, keys) and mean.shape == (2, 1, pixels, keys)
    torch.testing.assert_close(mean, apart.mean(dim=1, keepdim=True))
