"""Images stay in their file until they are read, each one alone."""

from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from pipeline.files import hdf5, images
from pipeline.files.images import Jpegs


@pytest.fixture
def stored(tmp_path):
    """Two hundred "pictures" of 0 to 60 kB, so that many lie across the border of two chunks, and one longer than one."""
    rng = np.random.default_rng(0)
    sizes = [int(size) for size in rng.integers(0, 60_000, 200)] + [2_500_000, 10]
    made = [rng.integers(0, 256, size, dtype=np.uint8).tobytes() for size in sizes]
    with hdf5.writing(tmp_path / "a.h5", "test") as file:
        starts = images.append(file, iter(made))
    with hdf5.reading(tmp_path / "a.h5", "test") as file:
        return made, starts, Jpegs(tmp_path / "a.h5", file["jpeg"])


def test_every_picture_comes_back_from_the_file_also_in_threads(stored):
    made, starts, jpegs = stored
    assert len(jpegs) == sum(map(len, made))
    rows = np.random.default_rng(1).permutation(len(made)).tolist() * 3
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: jpegs[starts[row] : starts[row + 1]].tobytes(), rows))
    assert found == [made[row] for row in rows]


def test_a_file_that_was_replaced_meanwhile_stays_readable(stored, tmp_path):
    made, starts, jpegs = stored
    (tmp_path / "a.h5").unlink()
    assert jpegs[starts[5] : starts[6]].tobytes() == made[5]


def test_a_file_that_was_cut_off_is_refused(tmp_path):
    with hdf5.writing(tmp_path / "a.h5", "test") as file:
        images.append(file, iter([b"x" * 3_000_000]))
    with hdf5.reading(tmp_path / "a.h5", "test") as file:
        jpegs = Jpegs(tmp_path / "a.h5", file["jpeg"])
    with (tmp_path / "a.h5").open("r+b") as file:
        file.truncate(1_000_000)
    with pytest.raises(ValueError, match=r"a\.h5: the file is cut off"):
        jpegs[2_000_000:2_000_010]


def test_pictures_of_another_program_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["jpeg"] = np.zeros(10, np.uint8)
        with pytest.raises(ValueError, match="does not hold images as this program writes them"):
            Jpegs(tmp_path / "a.h5", file["jpeg"])


def test_no_pictures_at_all(tmp_path):
    with hdf5.writing(tmp_path / "a.h5", "test") as file:
        images.append(file, iter([b"", b""]))
    with hdf5.reading(tmp_path / "a.h5", "test") as file:
        assert Jpegs(tmp_path / "a.h5", file["jpeg"])[0:0].size == 0
