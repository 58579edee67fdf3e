"""Rows of a heatmap file, read past h5py: the values that h5py reads, and only where the bytes are those values."""

import os

import h5py
import numpy as np

from pipeline.files import heatmaps, images
from pipeline.files.heatmaps import CompressedMaps, Heatmaps, _Rows
from pipeline.files.keys import FrameKeys
from pipeline.heatmaps.compress import compress
from pipeline.skeleton import get


def test_rows_are_what_h5py_reads_whatever_a_file_keeps_them_as(tmp_path):
    values = np.random.default_rng(0).integers(0, 100, (9, 3, 2))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for kind in ("<f2", "<i2", "u1", "<f4", ">f4", ">i2"):
            file[kind] = values.astype(kind)
        file.create_dataset("pieces", data=values, chunks=(2, 3, 2), compression="gzip")
        file.create_dataset("empty", shape=(9, 4), dtype="<f4")  # has no place in the file
        file.create_dataset("text", data=np.full((9, 2), "left", dtype=object), dtype=h5py.string_dtype())
    with h5py.File(tmp_path / "a.h5") as file:
        for name in file:
            rows = _Rows(file, name, int(file.id.get_vfd_handle()))
            assert len(rows) == 9
            for part in (slice(0), slice(2, 3), slice(4, 20), slice(None)):
                found = rows[part]
                assert found.dtype == file[name].dtype
                np.testing.assert_array_equal(found, file[name][part])


def test_systems_that_cannot_read_at_a_place_give_and_take_the_same_file(tmp_path, monkeypatch):
    rng = np.random.default_rng(5)
    keys = FrameKeys(np.array(["s1"] * 4), np.arange(4, dtype=np.int32), np.array(["train"] * 4), np.array(["p1"] * 4))
    maps = rng.random((4, 2, 16, 32, 24), dtype=np.float32)

    def write(path):
        with heatmaps.writing(path, keys, ("a", "b"), get("mpii_16"), (24, 32)) as writer:
            for rows in (slice(0, 3), slice(3, 4)):
                batch = maps[rows].shape[:3]
                compressed = CompressedMaps(*compress(maps[rows], writer.patch_side))
                writer.append(np.zeros((*batch, 2)), np.ones(batch), np.zeros((*batch[:2], 2, 3)), compressed)
        return path

    direct = write(tmp_path / "direct.h5")
    jpegs = [rng.integers(0, 255, size, dtype=np.uint8).tobytes() for size in (100, 0, 3_000_000)]
    with h5py.File(tmp_path / "jpegs.h5", "w") as file:
        starts = images.append(file, jpegs)
    for name in ("pread", "preadv", "pwrite"):
        monkeypatch.delattr(os, name)
    portable = write(tmp_path / "portable.h5")
    for path in (direct, portable):
        with heatmaps.reading_maps(path) as reader:
            np.testing.assert_array_equal(reader.maps([3, 0, 1]), Heatmaps.read(direct).maps(np.array([3, 0, 1])))
    with h5py.File(tmp_path / "jpegs.h5") as file:
        stored = images.Jpegs(tmp_path / "jpegs.h5", file["jpeg"])
    assert [stored[starts[i] : starts[i + 1]].tobytes() for i in range(3)] == jpegs
