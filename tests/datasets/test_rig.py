"""A rig's recordings on disk: layouts, names, numbers, sizes, and videos whose headers lie."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.datasets import images, parallel, rig, videos
from pipeline.datasets.calibration import simplified
from tests.raw_world import draw, write_video
from tests.tiny_world import camera_ring

CAMERAS = camera_ring(2)


def put_pictures(folder: Path, numbers: list[int]) -> None:
    folder.mkdir(parents=True)
    for number in numbers:
        cv2.imwrite(str(folder / f"frame_{number:06d}.jpg"), np.full((8, 8, 3), number, np.uint8))


def find(folder: Path, wanted: tuple[str, ...] = ()) -> tuple[rig.Recording, ...]:
    return rig.find(folder, CAMERAS, wanted, Path("calibration.toml"))


def test_names_are_compared_by_letters_and_digits():
    assert simplified("cam_01") == simplified("Cam01") == simplified("CAM-01") == "cam01"
    assert simplified("cam01") != simplified("cam1")


@pytest.mark.parametrize(
    "name", ["000012.jpg", "cam01.0012.json", "take2_000000000012_keypoints.json", "Static_cam_01.00012.json"]
)
def test_a_frame_s_number_is_the_last_in_its_name(name):
    assert rig.frame_number(Path(name)) == 12


def test_a_name_without_a_number_is_refused():
    with pytest.raises(ValueError, match="expected a frame number in the name"):
        rig.frame_number(Path("picture.jpg"))


def test_folders_are_sorted_by_number_and_share_what_all_have(tmp_path):
    put_pictures(tmp_path / "run/views/cam_01", [10, 2, 7])
    put_pictures(tmp_path / "run/views/CAM02", [7, 2, 11])
    (recording,) = find(tmp_path / "run/views")
    assert recording.name == "run"
    assert recording.numbers == (2, 7)
    assert "unequal frames (cam01 3, cam02 3); using the 2 common" in recording.notes[0]
    pairs: Any = list(rig.pictures(recording, recording.numbers))
    assert [[source.args[0].name for source in pair] for pair in pairs] == [
        ["frame_000002.jpg"] * 2,
        ["frame_000007.jpg"] * 2,
    ]


def test_sequences_are_folders_around_the_views(tmp_path):
    for sequence in ("walk", "sit"):
        put_pictures(tmp_path / sequence / "cam01", [0, 1])
        put_pictures(tmp_path / sequence / "cam02", [0, 1])
    assert [recording.name for recording in find(tmp_path)] == ["sit", "walk"]


def test_two_pictures_of_one_frame_are_refused(tmp_path):
    put_pictures(tmp_path / "cam01", [1])
    put_pictures(tmp_path / "cam02", [1])
    cv2.imwrite(str(tmp_path / "cam02/other_1.jpg"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="cam02: two pictures of frame 1"):
        find(tmp_path)


def test_one_camera_twice_is_refused(tmp_path):
    put_pictures(tmp_path / "cam01", [1])
    put_pictures(tmp_path / "cam_01", [1])
    put_pictures(tmp_path / "cam02", [1])
    with pytest.raises(ValueError, match="cam01 and cam_01 are the same camera's"):
        find(tmp_path)
    with pytest.raises(ValueError, match=r"target.views: the view cam02 is there twice"):
        find(tmp_path, ("cam02", "cam_02"))


def test_a_time_stamp_is_no_frame_number():
    with pytest.raises(ValueError, match="expected a frame number up to"):
        rig.frame_number(Path("frame_1700000000123.jpg"))


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(ValueError, match="expected a video or a picture folder a camera"):
        find(tmp_path)
    with pytest.raises(ValueError, match="expected a folder with"):
        find(tmp_path / "absent")


def test_views_that_are_not_chosen_need_no_calibration(tmp_path):
    for name in ("cam01", "cam02", "cam99"):
        put_pictures(tmp_path / name, [0])
    with pytest.raises(ValueError, match=r"cam99: the view has no calibration; calibration.toml has cam01, cam02"):
        find(tmp_path)
    (recording,) = find(tmp_path, ("cam02", "cam01"))
    assert [view.camera.name for view in recording.views] == ["cam02", "cam01"]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Nine frames; frame k is grey 20 k."""
    write_video(tmp_path / "cam01.avi", [np.full((64, 64, 3), 20 * k, np.uint8) for k in range(9)])
    return tmp_path / "cam01.avi"


def test_a_video_s_frames_are_counted_by_decoding(video):
    assert videos.count(video) == 9
    greys = [round(picture.mean() / 20) for picture in videos.frames(video, [0, 1, 4, 8])]
    assert greys == [0, 1, 4, 8]


def test_a_video_that_ends_early_is_refused(video):
    with pytest.raises(ValueError, match="the video ends at frame 9, frame 12 was expected"):
        list(videos.frames(video, [3, 12]))


def test_a_truncated_video_gives_what_is_there(tmp_path):
    path, rng = tmp_path / "a.avi", np.random.default_rng(0)
    write_video(path, [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(60)])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    assert 35 < videos.count(path) < 45
    path.write_bytes(whole[:100])
    with pytest.raises(ValueError, match=r"a.avi: "):
        videos.count(path)


def test_a_file_that_is_no_video_is_refused(tmp_path):
    (tmp_path / "cam01.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(ValueError, match=r"cam01.mp4: not a video that OpenCV can open"):
        videos.count(tmp_path / "cam01.mp4")


def picture(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), 140, np.uint8)


def test_pictures_of_the_calibration_s_size_stay():
    affine, note = rig.fit(picture(512, 512), CAMERAS[0].size, Path("v"))
    np.testing.assert_array_equal(affine, [[1, 0, 0], [0, 1, 0]])
    assert note == ""


def test_a_cut_picture_keeps_its_px():
    affine, note = rig.fit(picture(504, 512), CAMERAS[0].size, Path("v"))
    np.testing.assert_array_equal(affine, [[1, 0, 0], [0, 1, 0]])
    assert "taken to be cut" in note


def test_a_picture_between_black_bars_is_the_whole_picture():
    shown = picture(504, 512)
    shown[:4] = shown[-4:] = 3
    affine, note = rig.fit(shown, CAMERAS[0].size, Path("v"))
    corners = np.array([[-0.5, 3.5], [503.5, 507.5]]) @ affine[:, :2].T + affine[:, 2]
    np.testing.assert_allclose(corners, [[-0.5, -0.5], [511.5, 511.5]], atol=1e-9)  # px: edges to edges
    assert "0.9844 times" in note


def test_another_format_is_refused():
    with pytest.raises(ValueError, match="v: the pictures are 256x256, the calibration is for 512x512"):
        rig.fit(picture(256, 256), CAMERAS[0].size, Path("v"))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncated_pictures_are_refused_at_any_length(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), draw((64, 48), []))
    whole = path.read_bytes()
    assert images.read(path).shape == (48, 64, 3)
    for length in (0, 1, 10, len(whole) // 2, len(whole) - 12):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=f"a{suffix}: "):
            images.read(path)


def test_a_thumbnail_s_end_is_not_the_picture_s(tmp_path):
    done, data = cv2.imencode(".jpg", draw((64, 48), []))
    assert done
    whole = bytes(data)
    thumbnail = whole[:2] + b"\xff\xe1\x00\x06\xff\xd9\xff\xd9" + whole[2:]
    images.decode(thumbnail, "a.jpg")
    with pytest.raises(ValueError, match="truncated"):
        images.decode(thumbnail[:-40], "a.jpg")


def test_names_stay_inside_their_folder():
    folder = Path("images")
    assert images.inside(folder, "s1/a.jpg", "x") == folder / "s1/a.jpg"
    for name in ("../a.jpg", "s1/../../a.jpg", "/a.jpg", "..\\a.jpg", "C:/a.jpg", "", "a\0.jpg"):
        with pytest.raises(ValueError, match="x: expected the name of a file inside images"):
            images.inside(folder, name, "x")


def test_results_come_in_the_order_of_the_inputs_and_errors_come_through():
    assert list(parallel.in_order(lambda k: k * k, range(200), threads=7)) == [k * k for k in range(200)]

    def fails(k: int) -> int:
        if k == 30:
            raise ValueError("thirty")
        return k

    found = parallel.in_order(fails, range(100), threads=3)
    with pytest.raises(ValueError, match="thirty"):
        list(found)


def test_few_items_are_in_flight():
    taken: list[int] = []

    def items():
        for k in range(1000):
            taken.append(k)
            yield k

    results = parallel.in_order(lambda k: k, items(), threads=2)
    assert next(results) == 0
    assert len(taken) <= 10
