"""Boxes: what a detector's list means, repair in time, and the capture volume."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.files.keys import FrameKeys
from pipeline.target import boxes
from tests.worlds import raw_world
from tests.worlds.tiny_world import camera_ring


def keys(count: int, sequence: str = "a") -> FrameKeys:
    name = np.full(count, sequence)
    return FrameKeys(name, np.arange(count), np.full(count, "train"), name)


def entry(identity: str, x: float, score: float) -> dict[str, object]:
    return {"image_id": identity, "bbox": [x, 10, 20, 40], "score": score, "category_id": 1}


def test_the_best_scored_box_comes_first(tmp_path: Path):
    path = tmp_path / "boxes.json"
    entries = [entry("a/cam_1/000001", 5, 0.4), entry("cam1/1", 7, 0.9), entry("a/Cam1/000001", 9, 0.1)]
    path.write_text(json.dumps([*entries, entry("b/cam1/000001", 1, 1.0), entry("a/cam7/000001", 1, 1.0)]))
    box, score = boxes.read_coco(path, keys(3), ("cam1", "cam2"), min_score=0.3)
    assert box.shape == (3, 2, 2, 4)
    np.testing.assert_allclose(box[1, 0], [[7, 10, 27, 50], [5, 10, 25, 50]])  # px
    np.testing.assert_allclose(score[1, 0], [0.9, 0.4])
    assert np.isnan(np.delete(box.reshape(6, 2, 4), 2, axis=0)).all()


def walking(count: int) -> np.ndarray:
    """(frames, 1 view, 4) px: a 100 px box that moves 10 px to the right every frame."""
    x = 10.0 * np.arange(count)
    return np.stack([x, np.full(count, 50.0), x + 100, np.full(count, 150.0)], axis=-1)[:, None]


def test_a_missing_box_lies_between_its_neighbours():
    box = walking(9)
    damaged = box.copy()
    damaged[[0, 4, 8]] = np.nan
    filled, kept = boxes.repair(damaged, keys(9))
    np.testing.assert_allclose(filled[4], box[4], atol=1e-9)  # px
    np.testing.assert_allclose(filled[[0, 8]], box[[1, 7]], atol=1e-9)  # at the ends, the nearest
    assert np.flatnonzero(~kept[:, 0]).tolist() == [0, 4, 8]


@pytest.mark.parametrize(
    "strange", [[400.0, 50.0, 500.0, 150.0], [30.0, 40.0, 330.0, 340.0], [80.0, 90.0, 110.0, 120.0]]
)
def test_a_box_elsewhere_or_of_another_size_is_replaced(strange):
    box = walking(9)
    damaged = box.copy()
    damaged[4, 0] = strange
    filled, kept = boxes.repair(damaged, keys(9))
    np.testing.assert_allclose(filled, box, atol=1e-9)  # px
    assert not kept[4, 0]
    assert kept.sum() == 8


def test_sequences_are_repaired_each_by_itself():
    box = np.concatenate([walking(4), walking(4) + 600])
    damaged = box.copy()
    damaged[[3, 4]] = np.nan
    name = np.repeat(["a", "b"], 4)
    both = FrameKeys(name, np.tile(np.arange(4), 2), np.full(8, "train"), name)
    filled, _ = boxes.repair(damaged, both)
    np.testing.assert_allclose(filled[[3, 4]], box[[2, 5]], atol=1e-9)  # px


def test_a_view_without_any_box_stays_nan():
    filled, kept = boxes.repair(np.full((5, 2, 4), np.nan), keys(5))
    assert np.isnan(filled).all()
    assert not kept.any()


def test_the_box_around_points():
    points = np.array([[10.0, 20.0], [30.0, 80.0], [np.nan, np.nan]])
    np.testing.assert_allclose(boxes.around(points), [10, 20, 30, 80])
    np.testing.assert_allclose(boxes.around(points, 0.5), [5, 5, 35, 95])
    assert np.isnan(boxes.around(points[1:])).all()


def test_the_volume_stands_where_the_cameras_look():
    volume = boxes.volume(camera_ring(4))
    middle = (volume[::2] + volume[1::2]) / 2
    np.testing.assert_allclose(middle, [0, 0, 1000], atol=1.0)  # mm
    assert 500 <= volume[1] <= 3000


def test_the_outline_holds_whoever_is_in_the_volume():
    volume = np.array([-500.0, 500, -500, 500, 0, 1800])
    camera = camera_ring(3)[1]
    box = boxes.outline(camera, volume)
    inside = np.random.default_rng(0).uniform(volume[::2], volume[1::2], (500, 3))
    keypoints = camera.project(inside)
    assert (
        (keypoints >= box[:2] - 2) & (keypoints <= box[2:] + 2)
    ).all()  # px; the lens bends the straight outline a little


def test_a_volume_behind_the_camera_has_no_outline():
    camera = camera_ring(3)[0]
    behind = camera.centre[:2] * 3
    volume = np.array([behind[0] - 100, behind[0] + 100, behind[1] - 100, behind[1] + 100, 0, 2000])
    assert np.isnan(boxes.outline(camera, volume)).all()
    with pytest.raises(ValueError, match="is not inside the image of"):
        boxes.outlines((camera,), volume)


def test_marks_of_one_person_agree_between_views():
    cameras = camera_ring(4)
    joints = raw_world.people(("head_top", "pelvis", "left_heel", "right_heel"), 3)
    keypoints = np.stack([camera.project(joints) for camera in cameras], axis=1)
    marks = boxes.marks(boxes.around(keypoints))
    np.testing.assert_allclose(marks[..., 0, 1], keypoints[..., 1].min(-1))
    np.testing.assert_allclose(marks[..., 2, 1], keypoints[..., 1].max(-1))


def test_a_person_s_side_is_told_from_the_volume():
    cameras = camera_ring(4)  # 4.2 m from the middle, f = 700 px
    sides = boxes.person_sides(cameras, np.array([-500.0, 500, -500, 500, 0, 2000]))
    np.testing.assert_allclose(sides, 1.25 * 1800 * 700 / 4200, rtol=0.1)  # px


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["bbox", "image_id", "score"]), inner),
    max_leaves=8,
)


@pytest.mark.slow
@given(key=st.sampled_from(["bbox", "image_id", "score", "all"]), value=JUNK)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_junk_in_a_file_of_boxes_gives_a_sentence(tmp_path, key, value):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(value if key == "all" else [entry("a/cam1/1", 5, 0.9) | {key: value}]))
    try:
        box, _ = boxes.read_coco(path, keys(3), ("cam1",), min_score=0.3)
    except ValueError as error:
        refusal = str(error)
    else:
        refusal = str(path)
        assert not np.isinf(box).any()
    assert str(path) in refusal


def test_a_world_without_a_floor_has_no_volume():
    cameras = camera_ring(4)
    assert boxes.volume(cameras)[4] == 0
    low = [replace(camera, centre=camera.centre - [0, 0, 1600]) for camera in cameras]
    with pytest.raises(ValueError, match=r"m above z = 0, so that the floor is elsewhere; give target.volume_mm"):
        boxes.volume(low)
