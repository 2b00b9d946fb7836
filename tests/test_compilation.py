"""sd.compile(): the same pictures, shared weights, and nothing lost where it fails."""

import pytest
import torch

import boringfusion_lite as bf


def last(sd, prompt="a red house", **options):
    *_, frame = sd.sample(prompt, steps=2, seed=3, **options)
    return frame.x


def test_compiled_it_draws_the_same(tiny_sd):
    calls = []

    def counting(graph, inputs):
        calls.append(len(inputs))
        return graph.forward

    fast = tiny_sd.compile(backend=counting)
    assert calls  # at once, not with the first picture
    for options in {}, {"guidance_scale": 1.0}, {"height": 128, "width": 64}:
        torch.testing.assert_close(last(fast, **options), last(tiny_sd, **options))
    x = tiny_sd.noise(1)
    torch.testing.assert_close(fast.vae.decode(x), tiny_sd.vae.decode(x))


def test_weights_are_shared_and_the_model_stays(tiny_sd, tmp_path):
    fast = tiny_sd.compile(backend="eager")
    for part in "unet", "vae", "text_encoder":
        ours, theirs = getattr(tiny_sd, part), getattr(fast, part)
        assert ours is theirs or ours._compiled_call_impl is None
        for name, weight in ours.state_dict().items():
            assert theirs.state_dict()[name].data_ptr() == weight.data_ptr()
    fast.save(tmp_path / "model", dtype=torch.float32)
    again = bf.load(tmp_path / "model")
    torch.testing.assert_close(last(again), last(tiny_sd))


def test_a_copy_with_other_weights_is_not_compiled(tiny_sd):
    fast = tiny_sd.compile(backend="eager")
    weight = torch.zeros_like(fast.unet.conv_out.weight)
    changed = bf.sharing.with_weights(fast.unet, {"conv_out.weight": weight})
    assert changed._compiled_call_impl is None
    x, context = tiny_sd.noise(0), tiny_sd.encode("a red house")
    answer = changed(x, torch.tensor(5), context)
    bias = fast.unet.conv_out.bias.reshape(1, -1, 1, 1).expand_as(answer)
    torch.testing.assert_close(answer, bias)


def test_where_it_cannot(tiny_sd):
    def broken(graph, inputs):
        raise OSError("no compiler found\nand much more")

    before = last(tiny_sd)
    with pytest.raises(RuntimeError, match=r"does not work here: .*(?s:.*)apt install g\+\+"):
        tiny_sd.compile(backend=broken)
    assert torch.equal(last(tiny_sd), before)
