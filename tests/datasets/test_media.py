"""Image and video files from elsewhere: whole or refused, names inside their folder, headers that lie; parallel decoding."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.datasets import images, parallel, videos
from tests.worlds.raw_world import draw, write_video


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Nine frames; frame k is grey 20 k."""
    write_video(tmp_path / "cam01.avi", [np.full((64, 64, 3), 20 * k, np.uint8) for k in range(9)])
    return tmp_path / "cam01.avi"


def test_a_video_s_frames_are_counted_by_decoding(video):
    assert videos.count(video) == 9
    greys = [round(image.mean() / 20) for image in videos.frames(video, [0, 1, 4, 8])]
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


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncated_images_are_refused_at_any_length(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), draw((64, 48), []))
    whole = path.read_bytes()
    assert images.read(path).shape == (48, 64, 3)
    for length in (0, 1, 10, len(whole) // 2, len(whole) - 12):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=f"a{suffix}: "):
            images.read(path)


def test_a_thumbnail_s_end_is_not_the_image_s(tmp_path):
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

    results = parallel.in_order(fails, range(100), threads=3)
    with pytest.raises(ValueError, match="thirty"):
        list(results)


def test_few_items_are_in_flight():
    taken: list[int] = []

    def items():
        for k in range(1000):
            taken.append(k)
            yield k

    results = parallel.in_order(lambda k: k, items(), threads=2)
    assert next(results) == 0
    assert len(taken) <= 10
