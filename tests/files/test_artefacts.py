"""Artefacts: what was written is read again, equal values give equal bytes, other files are refused, nothing is half."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.files import atomic, frames, hdf5, heatmaps, images, samples
from pipeline.files.cameras import read_cameras, write_cameras
from pipeline.files.detections import Detections
from pipeline.files.frames import Frames
from pipeline.files.heatmaps import Heatmaps
from pipeline.files.keys import FrameKeys
from pipeline.files.labels import Labels, Reason
from pipeline.files.poses import JointStatus, Poses
from pipeline.files.samples import Samples
from pipeline.files.truth import Truth
from pipeline.skeleton import get
from tests.worlds.tiny_world import camera_ring

SKELETON = get("mpii_16")
VIEWS = ("cam_01", "kamera ß")
KEYS = FrameKeys(
    np.array(["walk", "walk", "sit"]),
    np.array([3, 7, 0], dtype=np.int32),
    np.array(["train", "test", "test"]),
    np.array(["ann", "ann", "bob"]),
)


def jpeg(grey: int) -> bytes:
    return images.encode(np.full((12, 16, 3), grey, np.uint8))


def numbers(*shape: int, holes: bool = False) -> np.ndarray:
    """Multiples of 1/8, exact in every float format; some of them NaN if there are to be holes."""
    rng = np.random.default_rng(sum(shape))
    values = rng.integers(-800, 800, shape) / 8
    if holes:
        values[rng.random(shape) < 0.2] = np.nan
    return values


def write_detections(path: Path) -> None:
    Detections(
        keys=KEYS,
        views=VIEWS,
        skeleton=SKELETON,
        keypoints=numbers(3, 2, 16, 2, holes=True),
        scores=numbers(3, 2, 16) / 100,
    ).write(path)


def write_poses(path: Path) -> None:
    status = np.full((3, 16), JointStatus.RAYS_PARALLEL, dtype=np.uint8)
    inliers = numbers(3, 2, 16) > 0
    Poses(
        keys=KEYS,
        views=VIEWS,
        skeleton=SKELETON,
        joints=numbers(3, 16, 3, holes=True),
        inliers=inliers,
        error_px=numbers(3, 16),
        status=status,
    ).write(path)


def write_labels(path: Path) -> None:
    reason = np.full((3, 2, 16), Reason.OUTSIDE, dtype=np.uint8)
    points, box = numbers(3, 2, 16, 2, holes=True), numbers(3, 2, 4)
    Labels(
        keys=KEYS,
        views=VIEWS,
        skeleton=SKELETON,
        keypoints=points,
        weights=abs(numbers(3, 2, 16)),
        reason=reason,
        person_box=box,
    ).write(path)


def write_truth(path: Path) -> None:
    Truth(keys=KEYS, skeleton=SKELETON, joints=numbers(3, 16, 3, holes=True), head=numbers(3), origin="peer").write(
        path
    )


def write_frames(path: Path) -> None:
    jpegs = (b"" if row == 4 else jpeg(20 * row) for row in range(6))
    frames.write(path, keys=KEYS, views=VIEWS, box=numbers(3, 2, 4), crop_from_image=numbers(3, 2, 2, 3), jpegs=jpegs)


def write_samples(path: Path) -> None:
    split, key = np.array(["train", "valid"]), np.array(["a.jpg#0", "ü.jpg#1"])
    joints = numbers(2, 16, 2, holes=True)
    visible = np.isfinite(joints[..., 0])
    jpegs = (jpeg(grey) for grey in (10, 200))
    samples.write(
        path,
        skeleton=SKELETON,
        key=key,
        split=split,
        keypoints=joints,
        visible=visible,
        box=numbers(2, 4),
        head=numbers(2),
        crop_from_image=numbers(2, 2, 3),
        jpegs=jpegs,
    )


def write_heatmaps(path: Path) -> None:
    with heatmaps.writing(path, KEYS, VIEWS, SKELETON, (24, 20)) as writer:
        for block in (slice(0, 2), slice(2, 3)):
            windows = abs(numbers(3, 2, 16, 2, 14, 14))[block]
            corners = np.tile([[0, 0], [8, 4]], (3, 2, 16, 1, 1))[block]
            writer.append(
                numbers(3, 2, 16, 2)[block], numbers(3, 2, 16)[block], numbers(3, 2, 2, 3)[block], (windows, corners)
            )


WRITERS: dict[str, tuple[Callable[[Path], None], Callable[[Path], object]]] = {
    "detections": (write_detections, Detections.read),
    "poses": (write_poses, Poses.read),
    "labels": (write_labels, Labels.read),
    "truth": (write_truth, Truth.read),
    "frames": (write_frames, Frames.read),
    "samples": (write_samples, Samples.read),
    "heatmaps": (write_heatmaps, Heatmaps.read),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_equal_values_give_equal_bytes_under_any_name(tmp_path, kind):
    write, _ = WRITERS[kind]
    write(tmp_path / "a.h5")
    write(tmp_path / "deeper/b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "deeper/b.h5").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "deeper"]  # no scratch is left


@pytest.mark.parametrize("kind", WRITERS)
def test_what_is_no_such_artefact_is_refused(tmp_path, kind):
    write, read = WRITERS[kind]
    path = tmp_path / "a.h5"
    with pytest.raises(ValueError, match=f"a.h5: there is no such file; expected {kind}"):
        read(path)
    path.write_text("not HDF5")
    with pytest.raises(ValueError, match=r"a.h5: not a readable HDF5 file"):
        read(path)
    with h5py.File(path, "w"):
        pass
    with pytest.raises(ValueError, match=f"expected {kind}, got an HDF5 file of another program"):
        read(path)
    other = "truth" if kind != "truth" else "poses"
    WRITERS[other][0](path)
    with pytest.raises(ValueError, match=f"expected {kind}, got {other}"):
        read(path)
    write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"a.h5: not a readable HDF5 file"):
        read(path)


def test_keys_come_back_and_find_one_another(tmp_path):
    write_truth(tmp_path / "a.h5")
    keys = Truth.read(tmp_path / "a.h5").keys
    for field in ("sequence", "number", "split", "person"):
        np.testing.assert_array_equal(getattr(keys, field), getattr(KEYS, field))
    some = KEYS.take(np.array([2, 0]))
    assert KEYS.rows_of(some).tolist() == [2, 0]
    assert some.rows_of(KEYS).tolist() == [1, -1, 0]
    KEYS.require_same(keys, "x")
    with pytest.raises(ValueError, match="x: speaks of other frames"):
        KEYS.require_same(some, "x")


def test_keys_that_cannot_be_right():
    with pytest.raises(ValueError, match="columns of different lengths"):
        FrameKeys(KEYS.sequence, KEYS.number[:2], KEYS.split, KEYS.person)
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'dev'"):
        FrameKeys(KEYS.sequence, KEYS.number, np.array(["train", "dev", "test"]), KEYS.person)


def test_detections_come_back(tmp_path):
    write_detections(tmp_path / "a.h5")
    found = Detections.read(tmp_path / "a.h5")
    assert found.views == VIEWS
    assert found.skeleton == SKELETON
    np.testing.assert_array_equal(found.keypoints, numbers(3, 2, 16, 2, holes=True))
    np.testing.assert_allclose(found.scores, numbers(3, 2, 16) / 100, rtol=1e-6)


def test_frames_come_back_and_a_missing_view_is_known(tmp_path):
    write_frames(tmp_path / "a.h5")
    found = Frames.read(tmp_path / "a.h5")
    assert found.present.tolist() == [[True, True], [True, True], [False, True]]
    assert found.image(1, 1).mean() == pytest.approx(60, abs=1)  # grey value of row 3
    assert found.image(2, 1).shape == (12, 16, 3)
    np.testing.assert_array_equal(found.box, numbers(3, 2, 4))


def test_frames_without_all_their_pictures_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="5 images for 3 frames of 2 views"):
        frames.write(
            tmp_path / "a.h5",
            keys=KEYS,
            views=VIEWS,
            box=numbers(3, 2, 4),
            crop_from_image=numbers(3, 2, 2, 3),
            jpegs=[jpeg(0)] * 5,
        )
    assert list(tmp_path.iterdir()) == []


def test_samples_come_back_and_arrays_may_be_filled_on_the_way(tmp_path):
    affines = np.full((2, 2, 3), np.nan)

    def made():
        for row in range(2):
            affines[row] = row
            yield jpeg(row)

    joints, none = numbers(2, 16, 2), np.ones((2, 16), dtype=bool)
    names = np.array(["a", "b"])
    samples.write(
        tmp_path / "a.h5",
        skeleton=SKELETON,
        key=names,
        split=names,
        keypoints=joints,
        visible=none,
        box=numbers(2, 4),
        head=numbers(2),
        crop_from_image=affines,
        jpegs=made(),
    )
    found = Samples.read(tmp_path / "a.h5")
    assert found.crop_from_image[1, 0, 0] == 1
    assert found.key.tolist() == ["a", "b"]
    assert len(found) == 2


def test_heatmaps_come_back_as_whole_maps(tmp_path):
    write_heatmaps(tmp_path / "a.h5")
    found = Heatmaps.read(tmp_path / "a.h5")
    windows = abs(numbers(3, 2, 16, 2, 14, 14)).astype(np.float16).astype(np.float32)
    maps = found.maps(slice(None))
    assert maps.shape == (3, 2, 16, 20, 24)
    np.testing.assert_array_equal(maps[..., :4, :8], windows[..., 0, :4, :8])
    np.testing.assert_array_equal(maps[..., 14:18, 14:22], windows[..., 1, 10:, 6:])
    np.testing.assert_array_equal(maps[..., 4:14, 8:14], windows[..., 0, 4:, 8:])  # the first one counts
    assert not maps[..., 18:, 22:].any()
    assert len(Heatmaps.read(tmp_path / "a.h5", maps=False).peak_patches) == 0


def test_maps_of_any_frames_in_any_order_are_read_alone(tmp_path):
    write_heatmaps(tmp_path / "a.h5")
    everything = Heatmaps.read(tmp_path / "a.h5").maps(slice(None))
    with heatmaps.reading_maps(tmp_path / "a.h5") as reader:
        assert len(reader) == 3
        for rows in ([2, 0, 1], [1, 2, 2], [0], [], np.array([0, 1, 2])):
            np.testing.assert_array_equal(reader.maps(rows), everything[np.asarray(rows, dtype=int)])
        for rows in ([3], [0, -1]):
            with pytest.raises(IndexError, match="heatmaps of 3 frames"):
                reader.maps(rows)
    for block, maps in heatmaps.map_blocks(tmp_path / "a.h5", 2):
        np.testing.assert_array_equal(maps, everything[block])


def test_heatmaps_with_too_few_frames_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="heatmaps of 0 frames were written, 3 were announced"):
        with heatmaps.writing(tmp_path / "a.h5", KEYS, VIEWS, SKELETON, (24, 20)):
            pass
    assert list(tmp_path.iterdir()) == []


def test_heatmaps_of_more_frames_or_of_another_shape_are_refused(tmp_path):
    block = [numbers(3, 2, 16, 2), numbers(3, 2, 16), numbers(3, 2, 2, 3), numbers(3, 2, 16, 2, 14, 14)]
    block.append(np.zeros((3, 2, 16, 2, 2)))
    points, scores, affine, *stored = (np.concatenate([each, each]) for each in block)
    with pytest.raises(ValueError, match="heatmaps of 3 frames were announced, and there are 6"):
        with heatmaps.writing(tmp_path / "a.h5", KEYS, VIEWS, SKELETON, (24, 20)) as writer:
            writer.append(points, scores, affine, stored)
    with pytest.raises(ValueError, match=r"expected scores of \(2, 16\) a frame, got \(2, 15\)"):
        with heatmaps.writing(tmp_path / "a.h5", KEYS, VIEWS, SKELETON, (24, 20)) as writer:
            writer.append(block[0], block[0][:, :, :15, 0], block[2], block[3:])
    assert list(tmp_path.iterdir()) == []


def test_heatmaps_are_written_alike_in_blocks_and_parts_of_any_size(tmp_path, monkeypatch):
    write_heatmaps(tmp_path / "a.h5")
    found = Heatmaps.read(tmp_path / "a.h5")
    monkeypatch.setattr(heatmaps, "_AT_ONCE", 1000)
    with heatmaps.writing(tmp_path / "b.h5", KEYS, VIEWS, SKELETON, (24, 20)) as writer:
        for rows in (slice(0, 1), slice(1, 1), slice(1, 3)):
            stored = [found.peak_patches, found.patch_corners, found.coarse_map, found.coarse_scale]
            writer.append(
                found.keypoints[rows], found.scores[rows], found.image_from_map[rows], [each[rows] for each in stored]
            )
    assert (tmp_path / "b.h5").read_bytes() == (tmp_path / "a.h5").read_bytes()


def test_poses_say_how_uncertain_they_are_or_that_they_do_not_know(tmp_path):
    write_poses(tmp_path / "plain.h5")
    plain = Poses.read(tmp_path / "plain.h5")
    assert plain.covariance.shape == (3, 16, 3, 3)
    assert np.isnan(plain.covariance).all()
    covariance = np.tile(np.diag([9.0, 16.0, 144.0]), (3, 16, 1, 1))
    covariance[1] = np.nan
    replace(plain, covariance=covariance).write(tmp_path / "sure.h5")
    sure = Poses.read(tmp_path / "sure.h5")
    np.testing.assert_array_equal(sure.covariance, covariance)
    assert sure.spread_mm[0, 0] == 13  # mm
    assert np.isnan(sure.spread_mm[1]).all()


def test_poses_labels_and_truth_come_back(tmp_path):
    write_poses(tmp_path / "p.h5")
    poses = Poses.read(tmp_path / "p.h5")
    np.testing.assert_array_equal(poses.joints, numbers(3, 16, 3, holes=True))
    np.testing.assert_array_equal(poses.valid, np.isfinite(numbers(3, 16, 3, holes=True)).all(-1))
    write_labels(tmp_path / "l.h5")
    labels = Labels.read(tmp_path / "l.h5")
    np.testing.assert_array_equal(labels.keypoints, numbers(3, 2, 16, 2, holes=True))
    assert (labels.reason == Reason.OUTSIDE).all()
    write_truth(tmp_path / "t.h5")
    truth = Truth.read(tmp_path / "t.h5")
    np.testing.assert_array_equal(truth.head, numbers(3))
    assert truth.origin == "peer"


def test_cameras_come_back(tmp_path):
    cameras = camera_ring(5)
    write_cameras(tmp_path / "c.toml", cameras)
    for found, known in zip(read_cameras(tmp_path / "c.toml"), cameras, strict=True):
        assert found.name == known.name
        assert found.size == known.size
        for field in ("K", "R", "centre", "distortion"):
            np.testing.assert_allclose(getattr(found, field), getattr(known, field), atol=1e-7)


def test_cameras_may_have_names_with_dots_and_quotes(tmp_path):
    names = ("cam.1", 'left "A"', "kamera ß")
    named = tuple(replace(camera, name=name) for camera, name in zip(camera_ring(3), names, strict=True))
    write_cameras(tmp_path / "c.toml", named)
    assert tuple(camera.name for camera in read_cameras(tmp_path / "c.toml")) == names


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "there is no such file; expected a calibration"),
        ("[cam", "not readable as TOML"),
        ("[metadata]\nunits = 'm'\n", "expected metadata.units = 'mm'"),
    ],
)
def test_a_foreign_camera_file_is_refused(tmp_path, text, sentence):
    if text is not None:
        (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_cameras(tmp_path / "c.toml")


def test_a_failure_leaves_the_earlier_file_and_no_scratch(tmp_path):
    path = tmp_path / "a.h5"
    path.write_text("earlier")

    def fail() -> None:
        with hdf5.writing(path, "poses") as file:
            file.create_dataset("x", data=np.zeros(3))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "earlier"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.h5"]


def test_a_directory_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "out"
    path.mkdir()
    (path / "old").write_text("old")
    with atomic.replacing(path) as scratch:
        scratch.mkdir()
        (scratch / "new").write_text("new")
    assert [entry.name for entry in path.iterdir()] == ["new"]


def test_json_has_sorted_keys_few_digits_and_no_nan(tmp_path):
    values = {"b": np.float32(0.1), "a": {"z": float("nan"), "y": (1, np.int64(2))}, "c": 1 / 3}
    atomic.write_json(tmp_path / "m.json", values)
    expected = '{\n  "a": {\n    "y": [\n      1,\n      2\n    ]\n  },\n  "b": 0.1,\n  "c": 0.3333\n}\n'
    assert (tmp_path / "m.json").read_text() == expected


def test_many_pictures_are_found_again_across_chunks(tmp_path):
    rng = np.random.default_rng(0)
    data = [rng.integers(0, 256, size, dtype=np.uint8).tobytes() for size in (400_000, 0, 900_000, 5, 1_300_000)]
    with hdf5.writing(tmp_path / "a.h5", "frames") as file:
        starts = images.append(file, data)
    with h5py.File(tmp_path / "a.h5") as file:
        whole = file["jpeg"][...].tobytes()
    assert [whole[a:b] for a, b in pairwise(starts)] == data


def test_bytes_that_are_no_jpeg_are_refused():
    with pytest.raises(ValueError, match="3 bytes that are no JPEG"):
        images.decode(np.array([1, 2, 3], dtype=np.uint8))


def test_samples_know_the_persons_own_rectangle_or_take_the_square(tmp_path):
    names, joints = np.array(["a", "b"]), numbers(2, 16, 2)
    box = np.array([[0.0, 0, 40, 40], [10, 10, 30, 30]])
    for extent, expected in ((None, box), (np.array([[20.0, 40], [20, 6]]), [[10, 0, 30, 40], [10, 17, 30, 23]])):
        made = (jpeg(10) for _ in range(2))
        samples.write(
            tmp_path / "a.h5",
            skeleton=SKELETON,
            key=names,
            split=names,
            keypoints=joints,
            visible=np.ones((2, 16), dtype=bool),
            box=box,
            head=numbers(2),
            crop_from_image=numbers(2, 2, 3),
            jpegs=made,
            person_size=extent,
        )
        np.testing.assert_array_equal(Samples.read(tmp_path / "a.h5").person_box, expected)
