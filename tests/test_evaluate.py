"""The scores: known values, perfect pictures score 100 %, every planted error is caught."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from boringfusion_lite import evaluate, scoring
from boringfusion_lite.clip import CLIP, CLIPConfig, ImageConfig, TextConfig
from boringfusion_lite.judge import Found, Judge, Reading, save_judge
from boringfusion_lite.pipeline import StableDiffusion
from boringfusion_lite.runtime import bundled_folder
from boringfusion_lite.saving import save
from boringfusion_lite.scenes import STARTER, WORLD, held_out, random_scene
from boringfusion_lite.schedule import Schedule
from boringfusion_lite.scoring import ASPECTS, matched, tally, unseen_scenes, verdicts, wilson
from boringfusion_lite.tokenizer import Tokenizer
from boringfusion_lite.unet import UNet, UNetConfig
from boringfusion_lite.vae import VAE, VAEConfig

SPLITS = ("train", "held-out", "all")
SCENES = [random_scene(seed, WORLD, SPLITS[seed % 3]) for seed in range(300)]


def seen(scene):
    """What a judge that makes no mistakes says of the scene."""
    things = [Found(one.thing, one.colour, one.size, one.x, one.y) for one in scene.placed]
    return Reading(tuple(things), scene.surroundings, scene.style)


def wrong(reading, labels):
    """The aspects in which the picture does not show what the caption says."""
    return {aspect for aspect, rights in verdicts(reading, labels).items() if not all(rights)}


def changed(reading, i=0, **values):
    things = list(reading.things)
    things[i] = replace(things[i], **values)
    return replace(reading, things=tuple(things))


def said(test):
    """Scenes with labels that pass a test, at least five of them."""
    chosen = [(seen(scene), scene.labels) for scene in SCENES if test(scene.labels)]
    assert len(chosen) >= 5
    return chosen


# ---- intervals and distances ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "successes, n, low, high",
    [
        (8, 10, 0.4902, 0.9433),
        (0, 10, 0, 0.2775),
        (10, 10, 0.7225, 1),
        (50, 100, 0.4038, 0.5962),
        (372, 400, 0.9007, 0.9511),
        (0, 0, 0, 1),
    ],
)
def test_wilson_intervals_of_the_textbook(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("successes, n", [(-1, 5), (6, 5), (1, 0)])
def test_impossible_counts_are_named(successes, n):
    with pytest.raises(ValueError, match=f"{successes} successes in {n}"):
        wilson(successes, n)


def test_psnr_of_known_errors():
    one_step = torch.tensor((2 / 255) ** 2)
    assert scoring.psnr(one_step).item() == pytest.approx(48.1308, abs=1e-3)
    assert scoring.psnr(torch.tensor(4.0)) == 0
    mean, pooled = scoring.vae_psnr(4 * torch.tensor([0.1, 0.001]))
    assert (mean, pooled) == pytest.approx((20, 12.967), abs=1e-3)


def test_the_vae_is_compared_in_steps_of_8_bits():
    """A VAE that gives back what it got, but for less than half a step, makes no error."""
    weight = torch.zeros(1)
    vae = SimpleNamespace(quant=SimpleNamespace(weight=weight), encode=lambda x: x)
    images = scoring.drawings(SCENES[:2], 32)
    vae.decode = lambda x: x + 0.4 * 2 / 255
    assert scoring.squared_errors(vae, images).max() < 1e-12
    vae.decode = lambda x: x + 9
    errors = scoring.squared_errors(vae, images)
    assert torch.allclose(errors, (1 - images).square().mean(dim=(1, 2, 3)))


def test_retrieval():
    assert scoring.retrieved(torch.eye(5)) == 5
    assert scoring.retrieved(torch.eye(5).roll(1, 0)) == 0
    assert scoring.retrieved(torch.ones(5, 5)) == 0  # a tie finds nothing
    captions, images = [scene.caption for scene in SCENES[:70]], torch.arange(70.0)
    ids = torch.arange(70)
    same = SimpleNamespace(
        logit_scale=torch.zeros(()),
        embed_text=lambda ids: F.one_hot(ids, 70).float(),
        embed_image=lambda images: F.one_hot(images.long(), 70).float(),
        similarity=lambda a, b: a @ b.T,
    )
    assert scoring.clip_retrieval(same, lambda texts: ids[: len(texts)], images, captions) == 70
    assert scoring.clip_retrieval(same, lambda texts: ids.roll(1), images, captions) == 0


# ---- verdicts on pictures ------------------------------------------------------------------------


def test_perfect_pictures_have_everything_right():
    readings, labels = [seen(scene) for scene in SCENES], [scene.labels for scene in SCENES]
    counts = tally(readings, labels)
    assert all(right == n for right, n in counts.values()), counts
    assert all(n > 50 for _, n in counts.values()), counts
    assert counts["everything"][1] == counts["count"][1] == len(SCENES)
    backwards = [replace(reading, things=reading.things[::-1]) for reading in readings]
    assert tally(backwards, labels) == counts


def test_score_images_asks_the_judge():
    judge = SimpleNamespace(read=lambda images: [seen(scene) for scene in SCENES[: len(images)]])
    labels = [scene.labels for scene in SCENES[:20]]
    counts = scoring.score_images(judge, torch.zeros(20, 3, 8, 8), labels)
    assert counts["everything"] == (20, 20)
    with pytest.raises(ValueError):
        scoring.score_images(judge, torch.zeros(19, 3, 8, 8), labels)


def test_a_wrong_thing_or_colour_is_caught():
    for reading, labels in said(lambda labels: True):
        other = next(
            thing for thing in WORLD.things if thing not in {g["thing"] for g in labels["groups"]}
        )
        assert wrong(changed(reading, thing=other), labels) == {"thing", "everything"}
    for reading, labels in said(lambda labels: labels["groups"][0]["colour"]):
        taken = {group["colour"] for group in labels["groups"]}
        other = next(colour for colour in WORLD.colours if colour not in taken)
        assert wrong(changed(reading, colour=other), labels) == {"colour", "everything"}


def test_a_colour_that_nobody_asked_for_is_free():
    for reading, labels in said(lambda labels: labels["groups"][0]["colour"] is None):
        assert not wrong(changed(reading, colour=reading.things[0].colour), labels)


def test_exchanged_colours_are_caught_twice():
    for reading, labels in said(
        lambda labels: labels["relation"] and all(g["colour"] for g in labels["groups"])
    ):
        a, b = reading.things
        swapped = changed(changed(reading, 0, colour=b.colour), 1, colour=a.colour)
        assert wrong(swapped, labels) == {"colour", "everything"}
        assert verdicts(swapped, labels)["colour"] == [False, False]


def test_a_swapped_relation_is_caught():
    for reading, labels in said(lambda labels: labels["relation"]):
        a, b = reading.things
        swapped = changed(changed(reading, 0, x=b.x, y=b.y), 1, x=a.x, y=a.y)
        assert wrong(swapped, labels) == {"place", "everything"}


def test_a_wrong_place_is_caught():
    for reading, labels in said(lambda labels: labels["place"]):
        for place, x in scoring.PLACES.items():
            expected = set() if place == labels["place"] else {"place", "everything"}
            assert wrong(changed(reading, x=x), labels) == expected


def test_a_wrong_size_is_caught():
    for reading, labels in said(lambda labels: labels["groups"][0]["size"]):
        assert wrong(changed(reading, size="medium"), labels) == {"size", "everything"}
    for reading, labels in said(lambda labels: labels["groups"][0]["size"] is None):
        assert not wrong(changed(reading, size="big"), labels)


def test_things_too_few_and_too_many_are_caught():
    for reading, labels in said(lambda labels: labels["groups"][0]["count"] > 1):
        fewer = replace(reading, things=reading.things[1:])
        assert wrong(fewer, labels) == {"count", "everything"}
    for reading, labels in said(lambda labels: True):
        stray = Found("apple", "red", "small", 0.9, 0.1, 0.5)
        more = replace(reading, things=(*reading.things, stray))
        assert wrong(more, labels) == {"count", "everything"}
    for reading, labels in said(lambda labels: labels["relation"]):
        alone = replace(reading, things=reading.things[:1])
        assert wrong(alone, labels) >= {"thing", "count", "place", "everything"}


def test_wrong_surroundings_and_style_are_caught():
    for aspect in ("surroundings", "style"):
        for reading, labels in said(lambda labels: labels[aspect]):  # noqa: B023
            assert wrong(replace(reading, **{aspect: "?"}), labels) == {aspect, "everything"}
        for reading, labels in said(lambda labels: labels[aspect] is None):  # noqa: B023
            assert not wrong(replace(reading, **{aspect: "?"}), labels)


def test_an_empty_picture_has_nothing_right_but_the_whole():
    for scene in SCENES:
        reading = replace(seen(scene), things=())
        right = {
            aspect for aspect, rights in verdicts(reading, scene.labels).items() if any(rights)
        }
        assert right <= {"surroundings", "style"}


def test_things_count_more_than_colours_when_they_are_handed_out():
    groups = [{"thing": "cat", "colour": "red", "count": 1}]
    groups += [{"thing": "fish", "colour": "blue", "count": 1}]
    cat, bird = Found("cat", "blue", "big", 0, 0), Found("bird", "red", "big", 1, 0)
    assert matched([bird, cat], groups) == [[cat], [bird]]
    crowd = [Found("tree", "red", "big", i, 0) for i in range(30)]
    assert len(matched(crowd, groups)) == 2 and matched([], groups) == [[], []]


# ---- the table -----------------------------------------------------------------------------------


def test_unseen_scenes_differ_and_keep_to_their_split():
    for split in ("train", "held-out"):
        scenes = unseen_scenes(WORLD, split, 100)
        assert len({scene.caption for scene in scenes}) == 100
        assert all(scene.seed >= scoring.UNSEEN for scene in scenes)
        for scene in scenes:
            new = any(held_out(group.thing, group.colour) for group in scene.groups)
            assert new == (split == "held-out")


def test_chance_is_what_captions_of_other_pictures_get():
    scenes = [scene for scene in SCENES if scene.labels["style"]]
    readings, labels = [seen(scene) for scene in scenes], [scene.labels for scene in scenes]
    rows = {row["score"]: row for row in evaluate.aspect_rows("judge", readings, labels)}
    assert list(rows) == ASPECTS
    assert rows["style"]["value"] == 1 and 0.1 < rows["style"]["chance"] < 0.3  # of five styles
    assert rows["thing"]["chance"] < 0.2 and rows["everything"]["chance"] < 0.02
    assert rows["style"]["interval"] == wilson(len(scenes), len(scenes))


def test_nothing_said_is_nothing_scored():
    scene = next(scene for scene in SCENES if scene.labels["style"] is None)
    rows = {row["score"]: row for row in evaluate.aspect_rows("x", [seen(scene)], [scene.labels])}
    assert rows["style"]["value"] is None and rows["style"]["n"] == 0
    table = evaluate.format_table({"rows": list(rows.values()), "judge": "Fine."})
    assert " - " in table and "\nFine.\n" in table


def test_a_judge_below_97_percent_is_not_believed():
    rows = [evaluate.row(evaluate.JUDGED[0], "thing", 0.99, (0.9, 1.0), 100, 0.1)]
    assert "at least 99.0 %" in evaluate.trust(rows)
    rows.append(evaluate.row(evaluate.JUDGED[0], "colour", 0.96, (0.9, 1.0), 100, 0.1))
    assert "mean nothing" in evaluate.trust(rows)
    assert "No judge" in evaluate.trust([])


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A model folder with every part, all of them tiny and fresh from the random generator."""
    torch.manual_seed(0)
    folder, tokenizer = tmp_path_factory.mktemp("model"), bundled_folder() / "tokenizer"
    text = TextConfig(width=16, layers=1, heads=2)
    image = ImageConfig(image_size=64, patch=16, width=16, layers=1, heads=2)
    clip = CLIP(CLIPConfig(text=text, image=image, joint_width=16))
    unet = UNetConfig(
        sample_size=8, channels=(16, 16), attention=(True, False), heads=(2, 2),
        blocks_per_level=1, context_width=16, groups=8,
    )  # fmt: skip
    vae = VAEConfig(sample_size=64, channels=(8, 8, 8, 8), blocks_per_level=1, groups=4)
    parts = clip.text_encoder, UNet(unet), VAE(vae), Schedule.scaled_linear()
    sd = StableDiffusion(Tokenizer.load(tokenizer), *parts)
    save(sd, folder, tokenizer=tokenizer, clip=clip)
    save_judge(Judge(STARTER, 64, 16), folder / "judge")
    return folder


def test_the_command_scores_every_part(untrained, tmp_path, capsys):
    options = [
        "--model",
        str(untrained),
        "--judge",
        str(untrained / "judge"),
        "--images",
        "3",
        "--steps",
        "1",
    ]
    evaluate.main(options)
    table, scores = capsys.readouterr().out, json.loads((untrained / "scores.json").read_text())
    parts = {row["part"] for row in scores["rows"]}
    assert parts == {*evaluate.JUDGED, *evaluate.SPLITS.values(), "vae", "clip"}
    assert evaluate.format_table(scores) in table
    assert "mean nothing" in scores["judge"] and scores["settings"]["steps"] == 1
    goals = {(row["part"], row["score"]) for row in scores["rows"] if row["goal"]}
    assert goals == set(evaluate.GOALS)
    numbers = [value for row in scores["rows"] for value in row.values() if value is not None]
    assert np.isfinite([value for value in numbers if isinstance(value, float)]).all()
    assert max(map(len, table.splitlines())) <= 100 and str(untrained) not in table
    before = (untrained / "scores.json").read_text()
    evaluate.main([*options, "--parts", "clip"])
    assert (untrained / "scores.json").read_text() == before  # a part is not the whole
    evaluate.main([*options, "--parts", "clip", "--output", str(tmp_path / "part.json")])
    assert len(json.loads((tmp_path / "part.json").read_text())["rows"]) == 1


@pytest.mark.parametrize(
    "options, message",
    [("--parts vae,unet", "unknown parts unet"), ("--images 0", "at least 1")],
)
def test_impossible_options_are_named(options, message, capsys):
    with pytest.raises(SystemExit):
        evaluate.main(options.split())
    assert message in capsys.readouterr().err
