"""HDF5 in one manner: the same values give the same bytes, and a file of another kind or version is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from pipeline.files.atomic import replacing


@contextmanager
def writing(path: Path, kind: str) -> Iterator[h5py.File]:
    """Open a new file of the given kind, which appears only when it is complete. The order of its datasets decides the bytes."""
    with replacing(path) as scratch:
        with h5py.File(scratch, "w", libver="v110") as file:
            file.attrs["kind"] = kind
            yield file


@contextmanager
def reading(path: Path, kind: str) -> Iterator[h5py.File]:
    """Open a file that `writing` made with the same kind.

    Raises:
        ValueError: the file is absent, not HDF5, or holds something else.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; expected {kind}")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path}: not a readable HDF5 file ({error})") from None
    with file:
        found = file.attrs.get("kind")
        if found != kind:
            raise ValueError(f"{path}: expected {kind}, got {found or 'an HDF5 file of another program'}")
        yield file


def put_text(file: h5py.Group, name: str, values: np.ndarray) -> None:
    """Write a text column as fixed-length UTF-8: variable-length strings live on a heap whose bytes depend on history."""
    encoded = np.char.encode(np.asarray(values, dtype=str), "utf-8")
    file.create_dataset(name, data=encoded if encoded.size else encoded.astype("S1"))


def get_text(file: h5py.Group, name: str) -> np.ndarray:
    return np.char.decode(np.asarray(file[name][...]), "utf-8")
