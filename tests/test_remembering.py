"""What the steps of a picture share is computed once, and the picture stays the same."""

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import boringfusion_lite as bf
from boringfusion_lite.blocks import ResBlock
from boringfusion_lite.unet import TransformerBlock

PROMPT, STEPS = "a red house", 4


@pytest.fixture(scope="module")
def sd(tiny_sd):
    """In float64, where another order of the same sums cannot be mistaken for another answer."""
    parts = {name: deepcopy(getattr(tiny_sd, name)).double() for name in ("text_encoder", "unet")}
    return replace(tiny_sd, **parts)


def last(sd, prompt=PROMPT, **options):
    *_, frame = sd.sample(prompt, **{"steps": STEPS, **options})
    return frame.x


@pytest.mark.parametrize("sampler", bf.SAMPLERS)
@pytest.mark.parametrize("spacing", ["", "karras"])
def test_every_sampler_draws_the_same(sd, sampler, spacing):
    if (sampler, spacing) == ("plms", "karras"):
        with pytest.raises(ValueError, match="evenly spaced"):
            last(sd, sampler=sampler, spacing=spacing)
        return
    options = {"sampler": sampler, "spacing": spacing}
    expected = last(replace(sd, remember=False), **options)
    torch.testing.assert_close(last(sd, **options), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"guidance_scale": 1.0},
        {"guidance_interval": (200, 800)},
        {"prompt": ["a red house", "a blue cat"], "guidance_scale": [2.0, 7.5]},
        {"init_image": torch.zeros(1, 3, 64, 64), "strength": 0.5},
        {"height": 64, "width": 128},
    ],
    ids=lambda options: " ".join(options),
)
def test_and_so_does_every_kind_of_run(sd, options):
    if "init_image" in options:
        sd = replace(sd, vae=deepcopy(sd.vae).double())
        options = options | {"init_image": options["init_image"].double()}
    expected = last(replace(sd, remember=False), **options)
    torch.testing.assert_close(last(sd, **options), expected, rtol=1e-9, atol=1e-9)


def flops(sd) -> int:
    with FlopCounterMode(display=False) as counter:
        last(sd)
    return counter.get_total_flops()


def test_exactly_that_work_is_saved(sd):
    size = lambda layer: 2 * layer.weight.numel()  # noqa: E731 -- operations for one row
    blocks = list(sd.unet.modules())
    crosses = [block.cross_attention for block in blocks if isinstance(block, TransformerBlock)]
    words = 2 * 77 * sum(size(cross.k) + size(cross.v) for cross in crosses)
    time = size(sd.unet.time.linear1) + size(sd.unet.time.linear2)
    time += sum(size(block.time) for block in blocks if isinstance(block, ResBlock))
    saved = flops(replace(sd, remember=False)) - flops(sd)
    assert saved == (STEPS - 1) * words + STEPS * time  # of the two rows a step, one is left


def borrowed(sd):
    return [name for name, layer in sd.unet.named_modules() if "forward" in vars(layer)]


def test_runs_side_by_side_do_not_disturb_each_other(sd):
    prompts = "a red house", "a blue cat in the snow"
    runs = [sd.sample(prompt, steps=STEPS) for prompt in prompts]
    for _ in range(STEPS):
        frames = [next(run) for run in runs]
        assert not borrowed(sd)  # between two steps the UNet is its own
    for prompt, frame in zip(prompts, frames, strict=True):
        assert torch.equal(frame.x, last(sd, prompt))


def test_two_threads_draw_what_each_would_alone(sd):
    prompts = ["a red house", "a blue cat in the snow"] * 4
    alone = {prompt: last(sd, prompt) for prompt in prompts}
    with ThreadPoolExecutor(4) as threads:
        for prompt, x in zip(prompts, threads.map(lambda prompt: last(sd, prompt), prompts)):
            torch.testing.assert_close(x, alone[prompt], rtol=1e-9, atol=1e-9)
    assert not borrowed(sd)


def test_the_next_picture_sees_changed_weights(sd):
    changed = replace(sd, unet=deepcopy(sd.unet))
    before = last(changed)
    with torch.no_grad():
        for block in changed.unet.modules():
            if isinstance(block, TransformerBlock):
                block.cross_attention.v.weight *= 3
    assert not torch.equal(last(changed), before)
    expected = last(replace(changed, remember=False))
    torch.testing.assert_close(last(changed), expected, rtol=1e-9, atol=1e-9)


def test_an_interrupted_step_leaves_the_unet_as_it_was(sd):
    def stop(*_):
        raise KeyboardInterrupt

    hook = sd.unet.conv_out.register_forward_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        last(sd)
    hook.remove()
    assert not borrowed(sd)


def test_hooks_see_what_they_always_saw(sd):
    shapes = {True: [], False: []}
    for remember, seen in shapes.items():
        note = lambda module, args, answer, seen=seen: seen.append(answer.shape)  # noqa: E731
        layers = [sd.unet.time, sd.unet.down[1].res.time]
        layers.append(sd.unet.down[1].transformer.block.cross_attention.k)
        hooks = [layer.register_forward_hook(note) for layer in layers]
        last(replace(sd, remember=remember), prompt=["a red house", "a blue cat"])
        for hook in hooks:
            hook.remove()
    assert shapes[True][-3 * STEPS :] == shapes[False]  # after the one time that it is computed
