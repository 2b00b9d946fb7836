"""Close-ups: one thing each, every combination, and captions that say nothing that is not there."""

import numpy as np

from boringfusion_lite import closeups
from boringfusion_lite.scenes import held_out


def test_every_combination_comes_equally_often():
    scenes = closeups.closeup_scenes(closeups.FEW, 600)
    seen = {}
    for scene in scenes:
        (group,) = scene.groups
        assert not held_out(group.thing, group.colour)
        key = group.thing, group.colour, scene.surroundings
        seen[key] = seen.get(key, 0) + 1
    assert max(seen.values()) - min(seen.values()) <= 1
    assert {key[0] for key in seen} == set(closeups.FEW.things)


def test_held_out_pairs_have_a_split_of_their_own():
    scenes = closeups.closeup_scenes(closeups.FEW, 30, "held-out")
    assert all(held_out(s.groups[0].thing, s.groups[0].colour) for s in scenes)


def test_the_thing_is_whole_and_where_the_mask_says():
    scenes = closeups.closeup_scenes(closeups.FEW, 40, first=7)
    pictures = closeups.Closeups.of(scenes)
    images, mask = pictures.images(np.arange(40)), pictures.thing_mask(np.arange(40))
    assert images.shape == (40, 3, 64, 64) and images.min() >= -1 and images.max() <= 1
    assert (mask.sum(dim=(1, 2, 3)) > 1000).all()  # a circle 44 pixels wide, not cut off
    assert not mask[:, :, [0, -1]].any() and not mask[:, :, :, [0, -1]].any()
    plain = [i for i, scene in enumerate(scenes) if scene.surroundings == "plain white"]
    outside = images[plain].mean(dim=1, keepdim=True)[mask[plain] == 0]
    assert (outside > 0.5).float().mean() > 0.95


def test_captions_name_the_thing_and_neither_place_nor_size():
    pictures = closeups.Closeups.of(closeups.closeup_scenes(closeups.FEW, 20))
    for i, caption in enumerate(pictures.captions(np.arange(20), step=3)):
        assert pictures.scene(i).groups[0].thing in caption
        assert not any(word in caption for word in (" left", " right", "small", "big", "middle"))
    assert len(pictures.simple()) == len(pictures) == 20
    assert pictures.captions(np.arange(20), 3) != pictures.captions(np.arange(20), 4)
