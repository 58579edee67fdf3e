"""A rig's recordings on disk: layouts, names, numbers and sizes."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.calibration.description import simplified
from pipeline.target.recordings import Recording, calibrated_from_image, find_recordings, frame_number_in_name
from tests.worlds.tiny_world import camera_ring

CAMERAS = camera_ring(2)


def put_images(folder: Path, numbers: list[int]) -> None:
    folder.mkdir(parents=True)
    for number in numbers:
        cv2.imwrite(str(folder / f"frame_{number:06d}.jpg"), np.full((8, 8, 3), number, np.uint8))


def find(folder: Path, view_names: tuple[str, ...] = ()) -> tuple[Recording, ...]:
    return find_recordings(folder, CAMERAS, view_names, Path("calibration.toml"))


def test_names_are_compared_by_letters_and_digits():
    assert simplified("cam_01") == simplified("Cam01") == simplified("CAM-01") == "cam01"
    assert simplified("cam01") != simplified("cam1")


@pytest.mark.parametrize(
    "name", ["000012.jpg", "cam01.0012.json", "take2_000000000012_keypoints.json", "Static_cam_01.00012.json"]
)
def test_a_frame_s_number_is_the_last_in_its_name(name):
    assert frame_number_in_name(Path(name)) == 12


def test_a_name_without_a_number_is_refused():
    with pytest.raises(ValueError, match="expected a frame number in the name"):
        frame_number_in_name(Path("image.jpg"))


def test_folders_are_sorted_by_number_and_share_what_all_have(tmp_path):
    put_images(tmp_path / "run/views/cam_01", [10, 2, 7])
    put_images(tmp_path / "run/views/CAM02", [7, 2, 11])
    (recording,) = find(tmp_path / "run/views")
    assert recording.name == "run"
    assert recording.numbers == (2, 7)
    assert "unequal frames (cam01 3, cam02 3); using the 2 common" in recording.notes[0]
    pairs: Any = list(recording.decoders(recording.numbers))
    assert [[decode.args[0].name for decode in pair] for pair in pairs] == [
        ["frame_000002.jpg"] * 2,
        ["frame_000007.jpg"] * 2,
    ]


def test_sequences_are_folders_around_the_views(tmp_path):
    for sequence in ("walk", "sit"):
        put_images(tmp_path / sequence / "cam01", [0, 1])
        put_images(tmp_path / sequence / "cam02", [0, 1])
    assert [recording.name for recording in find(tmp_path)] == ["sit", "walk"]


def test_two_images_of_one_frame_are_refused(tmp_path):
    put_images(tmp_path / "cam01", [1])
    put_images(tmp_path / "cam02", [1])
    cv2.imwrite(str(tmp_path / "cam02/other_1.jpg"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="cam02: two images of frame 1"):
        find(tmp_path)


def test_one_camera_twice_is_refused(tmp_path):
    put_images(tmp_path / "cam01", [1])
    put_images(tmp_path / "cam_01", [1])
    put_images(tmp_path / "cam02", [1])
    with pytest.raises(ValueError, match="cam01 and cam_01 are the same camera's"):
        find(tmp_path)
    with pytest.raises(ValueError, match=r"target.views: the view cam02 is there twice"):
        find(tmp_path, ("cam02", "cam_02"))


def test_a_time_stamp_is_no_frame_number():
    with pytest.raises(ValueError, match="expected a frame number up to"):
        frame_number_in_name(Path("frame_1700000000123.jpg"))


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(ValueError, match="expected a video or an image folder per camera"):
        find(tmp_path)
    with pytest.raises(ValueError, match="expected a folder with"):
        find(tmp_path / "absent")


def test_views_that_are_not_selected_need_no_calibration(tmp_path):
    for name in ("cam01", "cam02", "cam99"):
        put_images(tmp_path / name, [0])
    with pytest.raises(ValueError, match=r"cam99: the view has no calibration; calibration.toml has cam01, cam02"):
        find(tmp_path)
    (recording,) = find(tmp_path, ("cam02", "cam01"))
    assert [view.camera.name for view in recording.views] == ["cam02", "cam01"]


def image(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), 140, np.uint8)


def test_images_of_the_calibration_s_size_stay():
    affine, note = calibrated_from_image(image(512, 512), CAMERAS[0].size, Path("v"))
    np.testing.assert_array_equal(affine, [[1, 0, 0], [0, 1, 0]])
    assert note == ""


def test_a_cropped_image_keeps_its_px():
    affine, note = calibrated_from_image(image(504, 512), CAMERAS[0].size, Path("v"))
    np.testing.assert_array_equal(affine, [[1, 0, 0], [0, 1, 0]])
    assert "taken to be cropped" in note


def test_an_image_between_black_bars_is_the_whole_image():
    padded = image(504, 512)
    padded[:4] = padded[-4:] = 3
    affine, note = calibrated_from_image(padded, CAMERAS[0].size, Path("v"))
    corners = np.array([[-0.5, 3.5], [503.5, 507.5]]) @ affine[:, :2].T + affine[:, 2]
    np.testing.assert_allclose(corners, [[-0.5, -0.5], [511.5, 511.5]], atol=1e-9)  # px: edges to edges
    assert "0.9844 times" in note


def test_another_format_is_refused():
    with pytest.raises(ValueError, match="v: the images are 256x256, the calibration is for 512x512"):
        calibrated_from_image(image(256, 256), CAMERAS[0].size, Path("v"))
