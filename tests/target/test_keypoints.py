"""Detections in the files of other people's detectors: the same joints come out of all of them, or one sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.files.keys import FrameKeys
from pipeline.skeleton import Skeleton, get
from pipeline.target import keypoints

FRAMES, VIEWS, PEOPLE = 4, ("cam_01", "cam_02"), 2
Writer = Callable[[Path, np.ndarray, Skeleton], None]


def outcome(call: Callable[[], Any]) -> tuple[Any, str]:
    """What a reader gives, or the sentence that it refuses with. Other exceptions are the test's failure."""
    try:
        return call(), ""
    except ValueError as error:
        return None, str(error)


def keys(count: int = FRAMES) -> FrameKeys:
    name = np.full(count, "take")
    return FrameKeys(name, np.arange(count), np.full(count, "train"), name)


def numbers(count: int = FRAMES) -> np.ndarray:
    return np.repeat(np.arange(count)[:, None], len(VIEWS), axis=1)


def detected(skeleton: Skeleton) -> np.ndarray:
    """(frames, views, people, joints, 3) x y px and score, all different."""
    rng = np.random.default_rng(3)
    values = rng.uniform(1, 1000, (FRAMES, len(VIEWS), PEOPLE, len(skeleton), 3)).round(3)
    values[..., 2] = rng.uniform(0.1, 1, values.shape[:-1]).round(3)
    return values


def openpose(folder: Path, values: np.ndarray, _: Skeleton) -> None:
    for column, view in enumerate(VIEWS):
        (folder / f"{view}_json").mkdir()
        for frame in range(FRAMES):
            people = [{"pose_keypoints_2d": one.ravel().tolist()} for one in values[frame, column]]
            path = folder / f"{view}_json/{view}_{frame:012}_keypoints.json"
            path.write_text(json.dumps({"version": 1.3, "people": people}))


def instances(people: np.ndarray) -> list[dict[str, object]]:
    return [
        {
            "keypoints": one[:, :2].tolist(),
            "keypoint_scores": one[:, 2].tolist(),
            "bbox": [[0, 0, 1, 1]],
            "bbox_score": 1.0,
        }
        for one in people
    ]


def mmpose(folder: Path, values: np.ndarray, _: Skeleton) -> None:
    for column, view in enumerate(VIEWS):
        frames = [{"frame_id": frame, "instances": instances(values[frame, column])} for frame in range(FRAMES)]
        (folder / f"{view}.json").write_text(json.dumps({"meta_info": {"dataset_name": "x"}, "instance_info": frames}))


def mmpose_video(folder: Path, values: np.ndarray, _: Skeleton) -> None:
    for column, view in enumerate(VIEWS):
        frames = [{"frame_id": frame, "instances": instances(values[frame, column])} for frame in range(FRAMES)]
        (folder / f"{view}.json").write_text(json.dumps(frames))


def mmpose_images(folder: Path, values: np.ndarray, _: Skeleton) -> None:
    for column, view in enumerate(VIEWS):
        (folder / view).mkdir()
        for frame in range(FRAMES):
            (folder / view / f"{frame:06}.json").write_text(json.dumps(instances(values[frame, column])))


def coco(folder: Path, values: np.ndarray, _: Skeleton) -> None:
    for column, view in enumerate(VIEWS):
        entries = [
            {
                "image_id": frame,
                "category_id": 1,
                "keypoints": values[frame, column, one].ravel().tolist(),
                "score": 0.9,
            }
            for frame in range(FRAMES)
            for one in range(PEOPLE)
        ]
        (folder / f"{view}.json").write_text(json.dumps(entries))


def alphapose(folder: Path, values: np.ndarray, skeleton: Skeleton) -> None:
    coco(folder, values, skeleton)
    for view in VIEWS:
        entries = json.loads((folder / f"{view}.json").read_text())
        named = [entry | {"image_id": f"{entry['image_id']}.jpg"} for entry in entries]
        (folder / f"{view}.json").write_text(json.dumps(named))


def deeplabcut(folder: Path, values: np.ndarray, skeleton: Skeleton) -> None:
    """As DeepLabCut writes several animals, by pandas; joints in another order and spelling."""
    names = ["".join(word.capitalize() for word in joint.split("_")) for joint in skeleton.joint_names]
    order = list(range(len(skeleton)))[::-1]
    for column, view in enumerate(VIEWS):
        people = [f"ind{one}" for one in range(PEOPLE)]
        header = [("net", person, names[j], c) for person in people for j in order for c in ("x", "y", "likelihood")]
        index = pd.MultiIndex.from_tuples(header, names=["scorer", "individuals", "bodyparts", "coords"])
        rows = values[:, column][:, :, order].reshape(FRAMES, -1)
        pd.DataFrame(rows, columns=index).to_csv(folder / f"{view}.csv")


def sleap_csv(folder: Path, values: np.ndarray, skeleton: Skeleton) -> None:
    for column, view in enumerate(VIEWS):
        rows = []
        for frame in range(FRAMES):
            for one in range(PEOPLE):
                row: dict[str, object] = {"track": f"track_{one}", "frame_idx": frame, "instance.score": 0.9}
                for joint, (x, y, score) in zip(skeleton.joint_names, values[frame, column, one], strict=True):
                    row |= {f"{joint}.x": x, f"{joint}.y": y, f"{joint}.score": score}
                rows.append(row)
        pd.DataFrame(rows).to_csv(folder / f"{view}.csv", index=False)


def sleap(folder: Path, values: np.ndarray, skeleton: Skeleton) -> None:
    for column, view in enumerate(VIEWS):
        with h5py.File(folder / f"{view}.analysis.h5", "w") as file:
            some = values[:, column]  # (frames, people, joints, 3)
            file["tracks"] = some[..., :2].transpose(1, 3, 2, 0)
            file["point_scores"] = some[..., 2].transpose(1, 2, 0)
            file["node_names"] = [joint.encode() for joint in skeleton.joint_names]


WRITERS: dict[str, Writer] = {
    "openpose": openpose,
    "mmpose": mmpose,
    "mmpose video": mmpose_video,
    "mmpose images": mmpose_images,
    "coco": coco,
    "alphapose": alphapose,
    "deeplabcut": deeplabcut,
    "sleap csv": sleap_csv,
    "sleap": sleap,
}


@pytest.mark.parametrize("skeleton", ["coco_17", "halpe_26", "body_25"])
@pytest.mark.parametrize("detector", WRITERS)
def test_the_same_joints_come_out_of_every_detector_s_files(tmp_path, detector, skeleton):
    names = get(skeleton)
    values = detected(names)
    WRITERS[detector](tmp_path, values, names)
    points, scores = keypoints.read(tmp_path, keys(), numbers(), VIEWS, names)
    np.testing.assert_allclose(points, values[..., :2])
    np.testing.assert_allclose(scores, values[..., 2])


def test_a_joint_without_a_score_was_not_detected(tmp_path):
    names = get("coco_17")
    values = detected(names)
    values[1, 0, 0, 4] = 0
    openpose(tmp_path, values, names)
    points, scores = keypoints.read(tmp_path, keys(), numbers(), VIEWS, names)
    assert np.isnan(points[1, 0, 0, 4]).all()
    assert scores[1, 0, 0, 4] == 0


def test_a_view_s_own_numbers_are_the_detector_s(tmp_path):
    names = get("coco_17")
    values = detected(names)
    mmpose(tmp_path, values, names)
    own = numbers() + [0, 2]
    points, _ = keypoints.read(tmp_path, keys(), own, VIEWS, names)
    np.testing.assert_allclose(points[:2, 1], values[2:, 1, ..., :2])
    assert np.isnan(points[2:, 1]).all()


def test_counting_from_1_is_asked_about(tmp_path):
    names = get("coco_17")
    mmpose(tmp_path, detected(names), names)
    for view in VIEWS:
        text = (tmp_path / f"{view}.json").read_text()
        for frame in range(FRAMES, 0, -1):
            text = text.replace(f'"frame_id": {frame - 1}', f'"frame_id": {frame}')
        (tmp_path / f"{view}.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"counts its frames from 1 to 4, the view's are 0 to 3; set target.detections_off"
    ):
        keypoints.read(tmp_path, keys(), numbers(), VIEWS, names)
    points, _ = keypoints.read(tmp_path, keys(), numbers() + 1, VIEWS, names)
    assert np.isfinite(points).all()


def test_numbers_that_are_not_the_views_are_refused(tmp_path):
    names = get("coco_17")
    openpose(tmp_path, detected(names), names)
    with pytest.raises(ValueError, match=r"about the frames 0 to 3, the view's are 100 to 103"):
        keypoints.read(tmp_path, keys(), numbers() + 100, VIEWS, names)


def test_the_body_of_a_whole_body_detector(tmp_path):
    whole = Skeleton("x", tuple(f"j{i}" for i in range(133)), ("",) * 133)
    values = detected(whole)
    mmpose(tmp_path, values, whole)
    points, _ = keypoints.read(tmp_path, keys(), numbers(), VIEWS, get("wholebody_23"))
    np.testing.assert_allclose(points, values[..., :23, :2])
    with pytest.raises(ValueError, match=r"expected 17 joints \(coco_17\) as x, y, score, got 133"):
        keypoints.read(tmp_path, keys(), numbers(), VIEWS, get("coco_17"))


@pytest.mark.parametrize(
    "name", ["LKnee", "left_knee", "Knee_L", "leftKnee", "knee left", "LeftKnee", "l_knee", "L.Knee", "knee-l"]
)
def test_spellings_of_a_joint(name):
    assert keypoints._canonical(name) == "leftknee"
    assert keypoints._canonical(name) != keypoints._canonical("right_knee")


def test_two_entries_of_one_camera_are_refused(tmp_path):
    names = get("coco_17")
    coco(tmp_path, detected(names), names)
    openpose(tmp_path, detected(names), names)
    with pytest.raises(ValueError, match=r"expected one entry of the camera cam_01, got cam_01\.json and cam_01_json"):
        keypoints.read(tmp_path, keys(), numbers(), VIEWS, names)


def test_pickled_python_is_not_opened(tmp_path):
    names = get("coco_17")
    for view in VIEWS:
        with h5py.File(tmp_path / f"{view}.h5", "w") as file:
            file.create_group("df_with_missing")
    with pytest.raises(ValueError, match=r"holds pickled Python and is not opened; use its \.csv"):
        keypoints.read(tmp_path, keys(), numbers(), VIEWS, names)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_hdf5_file_gives_a_sentence(tmp_path, share):
    """Truncated, not damaged at random: libhdf5 itself may not come to an end on a file with flipped bits."""
    names = get("coco_17")
    sleap(tmp_path, detected(names), names)
    file = tmp_path / "cam_02.analysis.h5"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"cam_02\.analysis\.h5: not a readable HDF5 file"):
        keypoints.read(tmp_path, keys(), numbers(), VIEWS, names)


@pytest.mark.parametrize("detector", ["openpose", "mmpose", "coco", "deeplabcut", "sleap csv"])
@given(data=st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_give_a_sentence_or_finite_joints(tmp_path, detector, data):
    names = get("coco_17")
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    WRITERS[detector](tmp_path, detected(names), names)
    file = sorted(path for path in tmp_path.rglob("*") if path.is_file())[0]
    raw = file.read_bytes()
    start = data.draw(st.integers(0, len(raw)))
    stop = data.draw(st.integers(start, min(len(raw), start + 30)))
    junk = data.draw(
        st.sampled_from([b"", b"null", b"[", b"NaN", b"1e999", b"\xff\xff\xff\xff", b'"', b",,", b"\n", b"-1"])
    )
    file.write_bytes(raw[:start] + junk + raw[stop:])
    result, refusal = outcome(lambda: keypoints.read(tmp_path, keys(), numbers(), VIEWS, names))
    if result is None:
        assert str(tmp_path) in refusal
        return
    points, scores = result
    assert not np.isinf(points).any()
    assert ((scores >= 0) & (scores <= 1)).all()


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["keypoints", "image_id", "a"]), inner),
    max_leaves=8,
)


@given(key=st.sampled_from(["image_id", "keypoints", "frame_id", "instances", "keypoint_scores"]), value=JUNK)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_junk_in_an_entry_gives_a_sentence(tmp_path, key, value):
    names = get("coco_17")
    writer = coco if key in ("image_id", "keypoints") else mmpose_video
    writer(tmp_path, detected(names), names)
    loaded = json.loads((tmp_path / "cam_01.json").read_text())
    (loaded[0]["instances"][0] if key == "keypoint_scores" else loaded[0])[key] = value
    (tmp_path / "cam_01.json").write_text(json.dumps(loaded))
    result, refusal = outcome(lambda: keypoints.read(tmp_path, keys(), numbers(), VIEWS, names))
    assert (result is None and str(tmp_path) in refusal) or not np.isinf(result[0]).any()
