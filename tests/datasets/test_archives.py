"""Zips and folders as stores of images: their members are read, unsafe members are refused."""

import zipfile
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.datasets import archives, images
from pipeline.datasets.archives import Archive, Folder, Images

quick = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def jpeg(grey=100):
    return bytes(cv2.imencode(".jpg", np.full((40, 50, 3), grey, np.uint8))[1])


@pytest.mark.parametrize("inner", ["", "images/", "Images/", "mpii_human_pose_v1/images/"])
def test_members_are_found_whatever_folder_they_lie_in(tmp_path, inner):
    members = {f"{inner}a.jpg": b"one", f"{inner}deep/b.jpg": b"two", f"__MACOSX/{inner}._a.jpg": b"junk"}
    archive = Archive(write(tmp_path / "images.zip", members), ("images",))
    assert archive.read("a.jpg") == b"one"
    assert archive.read("deep/b.jpg") == b"two"
    assert archive.stamp("a.jpg") is not None
    assert archive.stamp("c.jpg") is None
    with pytest.raises(ValueError, match=r"images\.zip@c\.jpg: there is no such image"):
        archive.read("c.jpg")


@pytest.mark.parametrize("name", ["../a.jpg", "images/../../a.jpg", "/etc/passwd", "C:/a.jpg", "..\\a.jpg"])
def test_an_archive_with_a_name_that_leads_out_is_not_welcome(tmp_path, name):
    with pytest.raises(ValueError, match="a name that leads out of the archive"):
        Archive(write(tmp_path / "a.zip", {"b.jpg": b"", name: b""}))


def test_two_members_of_one_name_and_two_folders_of_pictures(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.jpg", b"one")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.jpg", b"two")
    with pytest.raises(ValueError, match=r"holds 'a\.jpg' twice"):
        Archive(tmp_path / "a.zip")
    with pytest.raises(ValueError, match="holds several folders of images, a/images, b/images"):
        Archive(write(tmp_path / "b.zip", {"a/images/a.jpg": b"", "b/images/a.jpg": b""}), ("images",))


def test_a_member_that_unpacks_to_too_much_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_LARGEST", 1 << 20)
    bomb = Archive(write(tmp_path / "a.zip", {"a.jpg": bytes(2 << 20)}, zipfile.ZIP_DEFLATED))
    with pytest.raises(ValueError, match="2097152 bytes unpacked, more than any image has"):
        bomb.read("a.jpg")


def test_a_member_that_lies_about_its_size_is_refused(tmp_path):
    path = write(tmp_path / "a.zip", {"a.jpg": bytes(2 << 20)}, zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x01\x02")
    data[at + 24 : at + 28] = (1000).to_bytes(4, "little")  # unpacked size, in the directory
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"a\.zip@a\.jpg: not readable"):
        Archive(path).read("a.jpg")


def test_a_member_under_a_password_is_refused(tmp_path):
    path = write(tmp_path / "a.zip", {"a.jpg": b"content"})
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(mark) + offset] |= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"not readable \(.*encrypted"):
        Archive(path).read("a.jpg")


def test_many_threads_read_one_zip(tmp_path):
    members = {f"{number}.jpg": bytes([number]) * 20_000 for number in range(60)}
    archive = Archive(write(tmp_path / "a.zip", members, zipfile.ZIP_DEFLATED))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(archive.read, members)) == list(members.values())


@quick
@given(place=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.booleans())
def test_whatever_byte_of_a_zip_changed_nothing_breaks(tmp_path, place, value, cut):
    data = bytearray(write(tmp_path / "a.zip", {"a.jpg": jpeg(), "b/c.jpg": jpeg(3)}).read_bytes())
    data[place % len(data)] = value
    (tmp_path / "b.zip").write_bytes(bytes(data[: place % len(data)] if cut else data))
    try:
        found = Images({"": Archive(tmp_path / "b.zip")}).read("a.jpg")
    except ValueError:
        return
    assert found.ndim == 3


def test_a_folder_is_a_store_too(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "folder.jpg").mkdir()
    store = Folder(tmp_path)
    assert store.read("a.jpg") == jpeg()
    assert store.stamp("b.jpg") is None
    for name, sentence in (
        ("b.jpg", "there is no such image"),
        ("folder.jpg", "not readable"),
        ("../a.jpg", "expected the name of a file inside"),
    ):
        with pytest.raises(ValueError, match=sentence):
            store.read(name)


def test_an_image_that_announces_too_many_pixels_is_not_decoded():
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(ValueError, match="announces 65535x65535 px"):
        images.decode(bytes(data), "a.jpg")
    png = bytearray(bytes(cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1]))
    png[16:24] = (30_000).to_bytes(4, "big") * 2
    with pytest.raises(ValueError, match="announces 30000x30000 px"):
        images.decode(bytes(png), "a.png")


def test_the_size_of_an_image_is_that_of_its_header():
    assert images.size(jpeg()) == (50, 40)
    assert images.size(bytes(cv2.imencode(".png", np.zeros((4, 9, 3), np.uint8))[1])) == (9, 4)
    assert images.size(b"text") == (0, 0)


@quick
@given(place=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.booleans())
def test_whatever_byte_of_a_jpeg_changed_nothing_breaks(place, value, cut):
    data = bytearray(jpeg())
    data[place % len(data)] = value
    try:
        found = images.decode(bytes(data[: place % len(data)] if cut else data), "a.jpg")
    except ValueError:
        return
    assert found.dtype == np.uint8
