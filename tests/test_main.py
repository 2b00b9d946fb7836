"""The command line: a picture and one line, or one line that says what is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import boringfusion_lite as bf
from boringfusion_lite.__main__ import SAMPLER_NAMES, main


@pytest.fixture
def draw(tiny_folder, tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder -> exit code, lines on stdout, lines on stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, model=tiny_folder):
        code = main([*map(str, arguments), "--model", str(model)])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return run


def test_a_picture_and_one_line(draw, tmp_path, tiny_sd):
    code, out, err = draw("a red house", "--steps", 3, "--seed", 5)
    assert (code, len(out), err) == (0, 1, [])
    assert out[0].startswith("picture.png: 64x64  load ")
    assert all(f"{stage} " in out[0] for stage in ("load", "text", "denoise", "decode"))
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]
    with Image.open("picture.png") as picture:
        assert picture.convert("RGB") == tiny_sd("a red house", steps=3, seed=5)


def test_help_names_all_samplers():
    assert SAMPLER_NAMES == list(bf.SAMPLERS)


def test_every_option_counts(draw, tiny_sd):
    options = "--steps 2 --guidance 3 --sampler euler --seed 1 --height 40 --width 72 --device cpu"
    code, _, _ = draw("a red house", "-o", "out.webp", "--negative", "a boat", *options.split())
    assert code == 0
    *_, last = tiny_sd.sample(
        "a red house",
        negative_prompt="a boat",
        steps=2,
        guidance_scale=3,
        sampler="euler",
        seed=1,
        height=40,
        width=72,
    )
    expected = tiny_sd.decode(last.x)[0]
    expected.save("expected.webp")
    with Image.open("out.webp") as picture, Image.open("expected.webp") as other:
        assert picture.format == "WEBP" and picture.size == (72, 40) and picture == other


@pytest.mark.parametrize(("name", "format"), [("a.jpg", "JPEG"), ("a.JPEG", "JPEG")])
def test_other_kinds_of_files(draw, name, format):
    assert draw("", "-o", name, "--steps", 1)[0] == 0
    with Image.open(name) as picture:
        assert picture.format == format


def test_what_the_model_does_not_know_is_one_plain_line(draw):
    code, out, err = draw("a red dragon", "--steps", 1)
    assert (code, len(out)) == (0, 1)
    assert err == ["warning: the model does not know these words: dragon"]
    _, _, err = draw("a red couch " * 40, "--steps", 1)
    assert len(err) == 1 and err[0].startswith("warning: the prompt is longer than 75 tokens")


BAD = [
    (["--steps", "0"], "steps = 0"),
    (["--steps", "1001"], "steps = 1001"),
    (["--sampler", "magic"], "Unknown sampler 'magic'"),
    (["--seed", "-1"], "A seed is a whole number"),
    (["--height", "60"], "multiples of 8"),
    (["--width", "0"], "multiples of 8"),
    (["--guidance", "nan"], "guidance_scale = nan"),
    (["--device", "abacus"], "Unknown device 'abacus'"),
    (["--device", "cuda:99"], 'There is no "cuda:99" here'),
    (["-o", "picture.txt"], "ends in .png, .jpg or .webp"),
    (["-o", "picture"], "ends in .png, .jpg or .webp"),
    (["-o", "no/such/folder.png"], "does not exist; make it first"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input(draw, tmp_path, arguments, message):
    code, out, err = draw("a red house", *arguments)
    assert (code, out, len(err)) == (1, [], 1)
    assert err[0].startswith("error: ") and message in err[0]
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_there(draw, tmp_path):
    code, out, err = draw("a red house", model=tmp_path / "nowhere")
    assert (code, out, len(err)) == (1, [], 1)
    assert err[0].startswith("error: there is no model at")


def broken(sd, folder, **changes):
    """The tiny model with some tensors of its UNet replaced."""
    bf.save(sd, folder, tokenizer=folder.parent / "tokenizer")
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file(load_file(file) | changes, file)
    return folder


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        (torch.zeros(3), "1 of another shape: conv_out.bias [3] instead of [4]"),
        (torch.full((4,), torch.nan), "Step 1 (t = 501): the predicted noise holds NaN"),
    ],
)
def test_a_damaged_model(draw, sd, tiny_folder, tmp_path_factory, tmp_path, bias, message):
    folder = tmp_path_factory.mktemp("broken")
    (folder / "tokenizer").symlink_to(tiny_folder / "tokenizer")
    model = broken(sd, folder / "model", **{"conv_out.bias": bias})
    code, out, err = draw("a red house", "--steps", 2, model=model)
    assert (code, out, len(err)) == (1, [], 1)
    assert err[0].startswith("error: ") and message in err[0]
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_written(draw, tmp_path):
    (tmp_path / "taken.png").mkdir()
    code, out, err = draw("", "-o", "taken.png", "--steps", 1)
    assert (code, out, len(err)) == (1, [], 1) and err[0].startswith("error: ")
    assert [path.name for path in tmp_path.iterdir()] == ["taken.png"]


def test_an_old_picture_survives_a_mistake(draw, tmp_path):
    (tmp_path / "picture.png").write_text("old")
    assert draw("a red house", "--height", 60)[0] == 1
    assert (tmp_path / "picture.png").read_text() == "old"


@pytest.mark.parametrize("arguments", [[], ["a", "--steps", "many"], ["a", "--wings", "2"]])
def test_misspelt_commands_show_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m boringfusion_lite")


def test_help_answers_without_loading_torch():
    """In a process of its own, which prints afterwards whether torch was imported."""
    program = (
        "import atexit, runpy, sys; sys.argv = ['boringfusion_lite', '--help'];"
        "atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr));"
        "runpy.run_module('boringfusion_lite', run_name='__main__')"
    )
    root = Path(__file__).parent.parent
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "False\n")
    assert all(option in done.stdout for option in ("--steps", "--negative", "--model", "example:"))


def test_public_names_are_there_when_asked_for():
    assert all(getattr(bf, name) is not None for name in bf.__all__)
    assert set(bf.__all__) <= set(dir(bf))
    with pytest.raises(AttributeError, match="has no attribute 'magic'"):
        _ = bf.magic
