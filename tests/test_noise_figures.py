"""The figures of page 03: the right numbers in them, readable type, pictures that can be moved."""

from functools import cache
from io import BytesIO

import pytest
import torch
from PIL import Image

pytest.importorskip("matplotlib")
from boringfusion_lite import plots  # noqa: E402
from boringfusion_lite.schedule import Schedule  # noqa: E402

SD = Schedule()
TABLE = SD.alphas_cumprod
PICTURE = Image.new("RGB", (16, 16), "red")
T = torch.arange(1000)


@cache
def figures():
    bent = Schedule.zero_terminal_snr().alphas_cumprod
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    return {
        "crossover": plots.crossover({0: PICTURE, 500: PICTURE, 999: PICTURE}, TABLE),
        "log_snr": plots.log_snr({"SD": TABLE, "bent": bent}, "Two schedules"),
        "dissolving": plots.dissolving({"zero SNR": ([PICTURE] * 3, bent)}, ["a", "b", "c"], "One"),
        "lines": plots.lines({"beta": {"SD": SD.betas}, "sigma": {"SD": SD.sigma}}, "2", ["sigma"]),
        "histograms": plots.histograms({"t = 0": {"one": values, "other": values}}, "A bell"),
        "spacings": plots.spacings({"all": SD.sigma[::100], "few": SD.sigma[::500]}, "Levels"),
    }


NAMES = ["crossover", "log_snr", "dissolving", "lines", "histograms", "spacings"]


@pytest.fixture(params=NAMES)
def figure(request):
    return figures()[request.param]


def test_width_type_and_alt_text(figure):
    assert figure.get_size_inches()[0] == 9
    assert len(figure.get_label()) > 20
    for text in figure.findobj(lambda part: hasattr(part, "get_fontsize")):
        assert text.get_fontsize() >= 8 or not text.get_text()
    assert len(plots.encoded(figure)) > 1000


def texts(figure):
    return " | ".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_the_crossover_says_where_and_how_much():
    told = texts(figures()["crossover"])
    assert "t = 354" in told and "2.9% noise" in told and "6.8% signal" in told
    other = texts(plots.crossover({0: PICTURE}, Schedule.cosine().alphas_cumprod))
    assert "t = 495" in other


def test_the_line_of_log_snr_is_log_snr():
    axes = figures()["log_snr"].axes[1]
    line = torch.tensor(axes.lines[0].get_ydata())
    torch.testing.assert_close(line.float(), SD.snr(T).log10(), rtol=1e-3, atol=1e-4)
    assert "bent: even at t = 337" in [line.get_label() for line in axes.lines]


def test_the_dial_moves_with_t_and_keeps_its_size():
    dials = [plots.noise_dial([PICTURE, torch.zeros(4, 4)], TABLE, t) for t in (0, 500, 999)]
    sizes = {Image.open(BytesIO(dial)).size for dial in dials}
    assert len(sizes) == 1 and len(set(dials)) == 3
    assert dials[1] == plots.noise_dial([PICTURE, torch.zeros(4, 4)], TABLE, 500)


def test_pure_noise_is_stored_small_and_without_an_error():
    """JPEG of noise needs more room than Pillow thinks."""
    noise = torch.randint(0, 256, (512, 512, 3), generator=torch.Generator().manual_seed(0))
    picture = Image.fromarray(noise.to(torch.uint8).numpy())
    figure = plots.picture_rows({"noise": [picture] * 6, "more": [picture] * 6}, ["n"] * 6, "Noise")
    assert plots.encoded(figure, small=40_000)[:2] == b"\xff\xd8"
