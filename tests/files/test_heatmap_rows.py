"""Rows of a heatmap file, read past h5py: the values that h5py reads, and only where the bytes are those values."""

import h5py
import numpy as np

from pipeline.files.heatmaps import _Rows


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
