"""Prompts as vectors: the syntax, three ways to emphasise, and arithmetic; nothing in place."""

import importlib.util
import json
import math
from io import BytesIO

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from boringfusion_lite import plots, prompts, scoring
from boringfusion_lite.judge import load_judge
from boringfusion_lite.prompts import EMPHASIS, emphasise, parse, slots_of, token_weights
from boringfusion_lite.runtime import bundled_folder
from boringfusion_lite.tokenizer import LENGTH

DATA = bundled_folder().parent
METHODS = list(EMPHASIS)
PROMPT = "a red house in a meadow, photorealistic"


@pytest.fixture(scope="module")
def sd(tiny_sd):
    return tiny_sd


def random_context(seed=0, batch=1):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(batch, LENGTH, 8, generator=g) + 0.1


def stressed(**slots):
    weights = torch.ones(LENGTH)
    for slot, weight in slots.items():
        weights[int(slot[1:])] = weight
    return weights


# ---- the syntax ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "passages"),
    [
        ("", []),
        ("normal text", [("normal text", 1)]),
        ("an (important) word", [("an ", 1), ("important", 1.1), (" word", 1)]),
        ("(unbalanced", [("unbalanced", 1.1)]),
        ("[unbalanced", [("unbalanced", 1 / 1.1)]),
        ("unbalanced)", [("unbalanced)", 1)]),
        (r"\(literal\]", [("(literal]", 1)]),
        (r"a \\ and \b", [(r"a \ and \b", 1)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        ("((twice))", [("twice", 1.21)]),
        ("(a [b] c:2)", [("a ", 2), ("b", 2 / 1.1), (" c", 2)]),
        ("(x:-1) (y: .5 ) (z:+2)", [("x", -1), (" ", 1), ("y", 0.5), (" ", 1), ("z", 2)]),
        ("ratio 4:3) or 16:9", [("ratio 4:3) or 16:9", 1)]),
        ("(a smile :-)", [("a smile :-", 1.1)]),
        ("(empty:1.3)()[]", [("empty", 1.3)]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [
                ("a ", 1),
                ("house", 1.573),
                (" ", 1.1),
                ("on", 1),
                (" a ", 1.1),
                ("hill", 0.55),
                (", sun, ", 1.1),
                ("sky", 1.4641),
                (".", 1.1),
            ],
        ),
    ],
)
def test_brackets_become_weights(prompt, passages):
    found = parse(prompt)
    assert [passage.text for passage in found] == [text for text, _ in passages]
    assert [passage.weight for passage in found] == pytest.approx([w for _, w in passages])


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_can_be_escaped(text):
    escaped = "".join(f"\\{letter}" if letter in "()[]\\" else letter for letter in text)
    assert "".join(passage.text for passage in parse(escaped)) == text
    assert all(passage.weight == 1 for passage in parse(escaped))


@given(st.text("ab ()[]:.1\\", max_size=30))
@settings(max_examples=300, deadline=None)
def test_neighbours_differ_in_weight_and_nothing_raises(text):
    found = parse(text)
    assert all(one.weight != other.weight for one, other in zip(found, found[1:]))
    assert all(passage.text and math.isfinite(passage.weight) for passage in found)


def test_a_weight_beyond_all_numbers_is_refused():
    with pytest.raises(ValueError, match="multiply"):
        parse(f"(x:{'9' * 400})")


def test_emphasis_does_not_change_the_tokens(tokenizer):
    passages = parse("(photo)realistic (couch:2), [red]")
    text = "".join(passage.text for passage in passages)
    assert text == "photorealistic couch, red"
    weights = token_weights(tokenizer, passages)
    wanted = [1, 1.1, 1, 2, 1, 1 / 1.1]  # start, photo, realistic, couch, comma, red
    assert weights[:6].tolist() == pytest.approx(wanted)
    assert (weights[6:] == 1).all() and weights.shape == (LENGTH,)


def test_weights_beyond_the_last_slot_are_cut_with_their_words(tokenizer):
    weights = token_weights(tokenizer, parse("house " * 80 + "(red:3)"))
    assert (weights == 1).all()
    assert token_weights(tokenizer, parse(f"({'house ' * 80}:3)"))[[0, 1, 75, 76]].tolist() == [
        1,
        3,
        3,
        1,
    ]


def test_slots_of_words(tokenizer):
    assert slots_of(tokenizer, PROMPT, "red") == [2]
    assert slots_of(tokenizer, PROMPT, "In a Meadow") == [4, 5, 6]
    assert slots_of(tokenizer, PROMPT, "photorealistic") == [8, 9]
    assert slots_of(tokenizer, PROMPT, "a") == [1, 5]
    with pytest.raises(ValueError, match="Its words are: a, red, house"):
        slots_of(tokenizer, PROMPT, "photo")
    with pytest.raises(ValueError, match="not in the prompt"):
        slots_of(tokenizer, PROMPT, " ")
    with pytest.raises(ValueError, match="after the 75 tokens"):
        slots_of(tokenizer, "house " * 80 + "red", "red")


# ---- three ways ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("prompt", ["", PROMPT, "a (red:1) house, (big:1.0)"])
def test_weight_1_changes_no_bit(sd, method, prompt):
    bare = prompt.replace("(", "").replace(":1)", "").replace(":1.0)", "")
    assert torch.equal(emphasise(sd, prompt, method), sd.encode(bare))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_weight_1_changes_no_bit_of_any_context(method, dtype):
    context = random_context(batch=3).to(dtype)
    result = EMPHASIS[method](context, torch.ones(LENGTH), [(1.0, random_context(1).to(dtype))])
    assert torch.equal(result, context) and result.dtype == dtype


@pytest.mark.parametrize("method", METHODS)
def test_arguments_are_left_alone(method):
    context, weights, other = random_context(), stressed(s3=2.0), random_context(1)
    copies = context.clone(), weights.clone(), other.clone()
    EMPHASIS[method](context, weights, [(2.0, other)])
    assert all(map(torch.equal, (context, weights, other), copies))


def test_plain_scaling_touches_the_words_alone():
    context = random_context()
    result = prompts.plain(context, stressed(s3=1.5, s7=-1.0))
    assert torch.equal(result[0, 3], 1.5 * context[0, 3])
    assert torch.equal(result[0, 7], -context[0, 7])
    rest = [slot for slot in range(LENGTH) if slot not in (3, 7)]
    assert torch.equal(result[:, rest], context[:, rest])  # start, end and padding among them


@given(st.floats(-2, 5), st.integers(0, 20))
@settings(max_examples=50, deadline=None)
def test_the_mean_is_restored_prompt_by_prompt(weight, seed):
    context, weights = random_context(seed, batch=2), stressed(s1=weight, s2=weight)
    result, scaled = prompts.mean_restored(context, weights), prompts.plain(context, weights)
    assert torch.allclose(result.mean(dim=(1, 2)), context.mean(dim=(1, 2)), atol=1e-5)
    ratio = context.mean(dim=(1, 2), keepdim=True) / scaled.mean(dim=(1, 2), keepdim=True)
    assert torch.allclose(result, scaled * ratio, rtol=1e-4, atol=1e-4)  # the web UI's formula


def test_a_mean_of_zero_cannot_be_restored():
    context = torch.ones(1, LENGTH, 2)
    with pytest.raises(ValueError, match="the mean is 0"):
        prompts.mean_restored(context, stressed(s1=1.0 - LENGTH))
    silent = torch.zeros(1, LENGTH, 2)
    assert torch.equal(prompts.mean_restored(silent, stressed(s1=2.0)), silent)


@pytest.mark.parametrize("weight", [0, 0.5, 1])
def test_interpolation_agrees_with_compel(sd, weight):
    """compel's blend below 1: weights 1 and tan((1 - w) pi/2), made to add up to 1."""
    whole, without = sd.encode("a red house"), sd.encode("a house")
    pull = math.tan((1 - max(weight, 1e-5)) * math.pi / 2)
    compel = (whole + pull * without) / (1 + pull)
    ours = emphasise(sd, f"a (red:{weight}) house", "interpolated")
    assert torch.allclose(ours, compel, atol=1e-4)


def test_interpolation_goes_on_beyond_1_and_adds_passages_up(sd):
    both = emphasise(sd, "a (red:2) house (at night:0.5)", "interpolated")
    whole = sd.encode("a red house at night")
    red, night = whole - sd.encode("a house at night"), whole - sd.encode("a red house")
    assert torch.allclose(both, whole + red - 0.5 * night, atol=1e-5)
    assert torch.equal(both[:, 0], whole[:, 0])  # no prompt changes the start


def test_a_list_of_prompts(sd):
    two = emphasise(sd, ["a (red:2) house", "a [cat]"])
    assert two.shape == (2, LENGTH, sd.text_encoder.config.width)
    assert torch.equal(two[1:], emphasise(sd, "a [cat]"))


def test_an_unknown_method_is_named(sd):
    with pytest.raises(ValueError, match="plain, mean restored, interpolated"):
        emphasise(sd, "a (red:2) house", "louder")


# ---- arithmetic ----------------------------------------------------------------------------------


def test_scaling_slots_and_everything():
    context = random_context(batch=2)
    copy = context.clone()
    assert torch.equal(prompts.scale(context, 1.0), context)
    assert torch.equal(prompts.scale(context, 2), 2 * context)
    one = prompts.scale(context, 0, slots=[4])
    assert not one[:, 4].any() and torch.equal(one[:, 5:], context[:, 5:])
    assert torch.equal(context, copy)
    for slots in ([77], [-1]):
        with pytest.raises(ValueError, match="0 to 76"):
            prompts.scale(context, 2, slots)


def test_dropping_the_mean():
    context = random_context()
    assert torch.equal(prompts.scale_mean(context, 1.0), context)
    assert prompts.scale_mean(context, 0).mean(dim=1).abs().max() < 1e-5
    assert torch.allclose(prompts.scale_mean(context, 3).mean(dim=1), 3 * context.mean(dim=1))


def test_mixing_has_exact_ends():
    one, other = random_context(0), random_context(1)
    assert torch.equal(prompts.mix(one, other, 0), one)
    assert torch.equal(prompts.mix(one, other, 1), other)
    assert torch.allclose(prompts.mix(one, other, 0.25), 0.75 * one + 0.25 * other, atol=1e-6)
    with pytest.raises(ValueError, match="do not go together"):
        prompts.mix(one, other[..., :4], 0.5)


def test_negating_twice_is_nothing():
    context, empty = random_context(0), random_context(1)
    there = prompts.negate(context, empty)
    assert torch.allclose(there - empty, empty - context, atol=1e-5)
    assert torch.allclose(prompts.negate(there, empty), context, atol=1e-5)
    assert torch.equal(prompts.negate(empty, empty), empty)


def test_moving_along_a_direction():
    context, red, blue = (random_context(seed) for seed in range(3))
    assert torch.equal(prompts.move(context, red, blue, 0.0), context)
    assert torch.allclose(prompts.move(red, red, blue), blue, atol=1e-6)
    with pytest.raises(ValueError, match="do not go together"):
        prompts.move(context, red, blue[:, :5])


def test_the_model_takes_what_comes_out(sd):
    context = emphasise(sd, "a (red:1.5) house", "interpolated")
    *_, last = sd.sample(context, steps=1, negative_prompt=prompts.scale(sd.encode(""), 0.5))
    assert last.x.isfinite().all()


# ---- what notebook 02 shows of it ----------------------------------------------------------------


@pytest.fixture(scope="module")
def measuring():
    """data/measure_emphasis.py as a module."""
    spec = importlib.util.spec_from_file_location("measure_emphasis", DATA / "measure_emphasis.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_stored_curve_is_whole(measuring):
    held = json.loads((DATA / "emphasis.json").read_text("utf-8"))
    settings, points = held["settings"], held["points"]
    assert settings["seeds"] >= 16
    assert held["cases"] == json.loads(json.dumps(measuring.CASES))
    for case in measuring.CASES:
        for weight in measuring.FEWER.get(case, measuring.WEIGHTS):
            chosen = [p for p in points if (p["case"], p["weight"]) == (case, weight)]
            assert [p["method"] for p in chosen] and {p["method"] for p in chosen} == set(EMPHASIS)
            if weight == 1:
                assert len({(p["word"], p["rest"]) for p in chosen}) == 1
    for point in points:
        for part in ("word", "rest"):
            interval = scoring.wilson(point[part], point["n"])
            assert point[f"{part}_interval"] == pytest.approx(interval, abs=1e-3)


def test_one_point_of_the_curve(measuring, sd):
    options = {"seeds": 2, "steps": 1, "guidance": 2.0}
    for case in measuring.CASES:
        point = measuring.point(sd, load_judge(), case, "interpolated", 1.5, options)
        assert point["n"] == 2 and 0 <= point["word"] <= 2 and 0 <= point["rest"] <= 2


def test_the_file_is_written_as_it_is_read(measuring, tmp_path):
    content = {"settings": {"seeds": 1}, "cases": {"a": [["b", "c", "d"]]}, "points": [{"n": 1}]}
    content["paths"] = [{"path": "e", "n": 1}]
    measuring.write(tmp_path / "x.json", content)
    assert json.loads((tmp_path / "x.json").read_text("utf-8")) == content


def test_figures_of_embeddings():
    picture, other = (Image.new("RGB", (16, 16), colour) for colour in ("red", "black"))
    assert scoring.difference(picture, picture) == 0 and scoring.difference(picture, other) == 85
    points = [
        {"case": "colour", "method": method, "weight": weight, "n": 4, "word": 1, "rest": 4}
        | {"word_interval": [0, 0.5], "rest_interval": [0.5, 1]}
        for method in EMPHASIS
        for weight in (-1, 1, 5)
    ]
    assert Image.open(BytesIO(plots.film([picture, other], side=32))).size == (80, 32)
    shares = torch.full((3, 3), 1 / 3).tril()
    figures = [
        plots.fader_sheet({"red": [other, picture]}, [1, 2], "a sheet"),
        plots.causal_mask(shares, ["start", "red", "end"], "a mask"),
        plots.similarity_matrix(torch.rand(2, 2), ["a", "b"], [picture, other], "a matrix"),
        plots.share_bar({"start": 0.1, "words": 0.3, "pads": 0.6}, "shares"),
        plots.method_sheet({"plain": [(picture, 1.0, -0.01)] * 2}, [0, 1], "methods"),
        plots.effect_curves(points, "curves"),
    ]
    for figure in figures:
        assert figure.get_size_inches()[0] == 9 and len(figure.get_label()) > 20
        assert len(plots.encoded(figure)) > 1000
    assert "red 85" in figures[0].get_label()
