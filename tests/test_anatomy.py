"""The UNet row by row: known numbers of SD 1.5, exact skips, features as they flow, hooks gone."""

import pytest
import torch
from tiny import UNET_CONFIG

from boringfusion_lite import anatomy, probe
from boringfusion_lite.unet import UNet


@pytest.fixture(scope="module")
def unet():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UNet(UNET_CONFIG).eval()


@pytest.fixture(scope="module")
def sd15():
    return probe.sd15_on_meta()


def fed(seed=0, batch=1):
    drawing = torch.Generator().manual_seed(seed)
    x = torch.randn((batch, 4, 8, 8), generator=drawing)
    return x, 500, torch.randn((batch, 77, UNET_CONFIG.context_width), generator=drawing)


def hooks(unet):
    return [h for m in unet.modules() for h in (*m._forward_hooks, *m._forward_pre_hooks)]


def by_hand(unet, x, t, context, gains):
    """The UNet's forward with a gain on every skip."""
    time, skips = unet.time(torch.tensor([t] * len(x))), []
    for step in unet.down:
        x = step(x, time, context)
        skips.append(x)
    skips = [gain * skip for gain, skip in zip(gains, skips)]
    for step in unet.middle:
        x = step(x, time, context)
    for step in unet.up:
        x = step(torch.cat([x, skips.pop()], dim=1), time, context)
    return unet.conv_out(torch.nn.functional.silu(unet.norm_out(x)))


def test_rows_are_named_after_their_place(unet, sd15):
    rows = anatomy.unet_rows(unet)
    assert rows["down 2"] is unet.down[2] and rows["up 0"] is unet.up[0]
    ways = [name.split()[0] for name in anatomy.unet_rows(sd15.unet)]
    assert [ways.count(way) for way in ("down", "middle", "up")] == [12, 2, 12]
    assert anatomy.mirror(sd15.unet, "down 0") == "up 11"
    assert anatomy.mirror(sd15.unet, "up 0") == "down 11"
    for row in ("middle 0", "down 12"):
        with pytest.raises(ValueError, match="no mirror"):
            anatomy.mirror(sd15.unet, row)


def test_the_table_of_sd15(sd15):
    x, context = torch.empty(2, 4, 64, 64, device="meta"), torch.empty(2, 77, 768, device="meta")
    table = anatomy.unet_table(sd15.unet, x, 10, context)
    rows = {row.name: row for row in table}
    assert list(rows) == list(anatomy.unet_rows(sd15.unet))
    assert [row.skip for row in table if row.skip] == [
        *[1280] * 5,
        640,
        640,
        640,
        320,
        320,
        320,
        320,
    ]
    assert rows["up 0"].shape_in == (2, 2560, 8, 8) and rows["up 11"].shape == (2, 320, 64, 64)
    assert rows["down 3"].made_of == "half" and rows["down 3"].shape == (2, 320, 32, 32)
    assert rows["up 5"].made_of == "Res + Attn + twice"
    assert {(row.ms, row.device) for row in table} == {(None, "meta")}
    assert rows["down 1"].bytes == 2 * 320 * 64 * 64 * 4
    others = [sd15.unet.time, sd15.unet.norm_out, sd15.unet.conv_out]
    rest = sum(p.numel() for module in others for p in module.parameters())
    assert sum(row.parameters for row in table) + rest == 859_520_964
    assert not hooks(sd15.unet)


def test_two_models_line_up_in_one_table(unet, sd15):
    x, context = torch.empty(1, 4, 64, 64, device="meta"), torch.empty(1, 77, 768, device="meta")
    small = anatomy.unet_table(unet, *fed(), calls=2)
    big = anatomy.unet_table(sd15.unet, x, 10, context)
    assert all(row.ms > 0 for row in small)
    table = anatomy.row_table({"small": small, "big": big}).data
    lines = [line.split("</td><td>") for line in table.split("<tr>")[3:]]
    names = [(line[0].removeprefix("<td>"), line[6]) for line in lines]
    assert [name for _, name in names] == [row.name.replace(" ", "&nbsp;") for row in big]
    pairs = {small: big for small, big in names if small}
    assert len(pairs) == len(anatomy.unet_rows(unet))
    ends = {"down 0": "down 0", "down 2": "down 3", "down 3": "down 5"}
    ends |= {"middle 1": "middle 1", "up 0": "up 7", "up 1": "up 8", "up 3": "up 11"}
    for one, other in ends.items():
        assert pairs[one.replace(" ", "&nbsp;")] == other.replace(" ", "&nbsp;")
    assert "small, float32 on cpu" in table and "big, float32 on meta" in table
    assert not hooks(unet)


@torch.no_grad()
def test_features_are_what_flows_out(unet):
    x, t, context = fed(batch=2)
    with anatomy.features(unet, "down 1", "up 3") as seen:
        out = unet(x, t, context)
        unet(x, 20, context)
    assert list(seen) == ["down 1", "up 3"] and [len(calls) for calls in seen.values()] == [2, 2]
    assert torch.equal(unet.conv_out(torch.nn.functional.silu(unet.norm_out(seen["up 3"][0]))), out)
    with anatomy.features(unet) as everything:
        unet(x, t, context)
    assert torch.equal(everything["down 1"][0], seen["down 1"][0])
    assert list(everything) == list(anatomy.unet_rows(unet)) and not hooks(unet)
    with pytest.raises(ValueError, match="choose from down 0"), anatomy.features(unet, "down 77"):
        pass


@pytest.mark.parametrize("gain", [0.0, 0.5, 1.5])
@torch.no_grad()
def test_a_scaled_skip_is_the_unet_by_hand_with_that_skip_scaled(unet, gain):
    before, last = unet(*fed()), len(unet.down) - 1
    for index in range(last + 1):
        with anatomy.skip_gain(unet, index, gain):
            scaled = unet(*fed())
        gains = [gain if number == index else 1.0 for number in range(last + 1)]
        torch.testing.assert_close(scaled, by_hand(unet, *fed(), gains))
        assert not torch.allclose(scaled, before, atol=1e-5)
        assert torch.equal(unet(*fed()), before)
    with anatomy.skip_gain(unet, 0, gain), anatomy.skip_gain(unet, last, 0.5):
        both = unet(*fed())
    gains = [gain, *[1.0] * (last - 1), 0.5]
    torch.testing.assert_close(both, by_hand(unet, *fed(), gains))


@torch.no_grad()
def test_gain_one_changes_no_bit_and_errors_leave_no_hook(unet):
    with anatomy.skip_gain(unet, 1, 1.0):
        assert torch.equal(unet(*fed()), unet(*fed()))
    with pytest.raises(ZeroDivisionError), anatomy.skip_gain(unet, 1, 0.0):
        1 / 0  # noqa: B018
    with pytest.raises(ValueError, match="skips 0 to"), anatomy.skip_gain(unet, len(unet.down), 0):
        pass
    assert not hooks(unet)
