"""Where a data set's files lie: in a folder or a zip, with or without an inner folder, in either spelling.

Zips are read where they are. Nothing of them is ever unpacked to a disk; a member whose name leads out of the archive makes
the whole archive unwelcome, and what a member says of its size is believed before a byte of it is unpacked.
"""

import os
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from pipeline.datasets import images

_LARGEST = 256 << 20  # bytes of a member, unpacked; the largest picture of the sets that we know of has 30 MB
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,  # a compression that Python does not know
    OverflowError,
    RuntimeError,  # encrypted
    ValueError,
)


class Store(Protocol):
    """Files by name. A name is `/`-separated, and cannot leave the store."""

    path: Path

    def read(self, name: str) -> bytes:
        """Raises ValueError: the file is absent or cannot be read."""
        ...

    def stamp(self, name: str) -> tuple[int, int] | None:
        """Bytes and a number that changes when the file does; None where it is absent."""
        ...


class Folder:
    """A folder as a `Store`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> bytes:
        path = images.inside(self.path, name, str(self.path))
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise ValueError(f"{path}: there is no such picture") from None
        except OSError as error:
            raise ValueError(f"{path}: not readable ({error.strerror})") from None

    def stamp(self, name: str) -> tuple[int, int] | None:
        try:
            found = images.inside(self.path, name, str(self.path)).stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns


class Archive:
    """A zip as a `Store`, for any number of threads at once."""

    def __init__(self, path: Path, inner: Sequence[str] = ()) -> None:
        """
        Args:
            inner: the names that a folder inside may have (`images`); where there is such a folder, wherever in the
                archive it lies, names are relative to it.

        Raises:
            ValueError: no zip, or one that nobody should trust.
        """
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except _ZIP_ERRORS as error:
            raise ValueError(f"{path}: not readable as a zip ({error})") from None
        files: dict[PurePosixPath, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            name = info.filename.replace("\\", "/")
            pure = PurePosixPath(name)
            if pure.is_absolute() or ".." in pure.parts or (pure.parts and ":" in pure.parts[0]):
                raise ValueError(f"{path}: holds '{info.filename}', a name that leads out of the archive")
            if info.is_dir() or "__MACOSX" in pure.parts:
                continue
            if pure in files:
                raise ValueError(f"{path}: holds '{name}' twice")
            files[pure] = info
        roots = sorted({root for pure in files if (root := _root(pure, inner)) is not None})
        if len(roots) > 1:
            raise ValueError(f"{path}: holds several folders of pictures, {', '.join(map(str, roots))}")
        if roots:
            files = {pure.relative_to(roots[0]): info for pure, info in files.items() if pure.is_relative_to(roots[0])}
        self._files = {str(pure): info for pure, info in files.items()}
        self._changed = os.stat(path).st_mtime_ns

    def read(self, name: str) -> bytes:
        images.inside(self.path, name, str(self.path))
        info = self._files.get(str(PurePosixPath(name.replace("\\", "/"))))
        if info is None:
            raise ValueError(f"{self.path}@{name}: there is no such picture")
        if info.file_size > _LARGEST:
            raise ValueError(f"{self.path}@{name}: {info.file_size} bytes unpacked, more than any picture has")
        try:
            with self._zip.open(info) as member:
                return member.read(info.file_size)
        except (*_ZIP_ERRORS, OSError) as error:
            raise ValueError(f"{self.path}@{name}: not readable ({error})") from None

    def stamp(self, name: str) -> tuple[int, int] | None:
        info = self._files.get(str(PurePosixPath(name.replace("\\", "/"))))
        return None if info is None else (info.file_size, info.CRC ^ self._changed)


class Pictures:
    """The pictures of a data set, from one store or one store a part: `train2017/000000000009.jpg` is in `train2017`."""

    def __init__(self, stores: Mapping[str, Store]) -> None:
        """`stores`: part -> where it lies; the part "" is the whole set."""
        self._stores = dict(stores)

    def read(self, image: str) -> np.ndarray:
        """(height, width, 3) uint8 BGR.

        Raises:
            ValueError: the picture is absent, truncated or none.
        """
        store, name = self._find(image)
        separator = "@" if isinstance(store, Archive) else "/"
        return images.decode(store.read(name), f"{store.path}{separator}{name}")

    def stamp(self, image: str) -> tuple[int, int] | None:
        """Bytes and a number that changes with the picture; None where it is absent."""
        store, name = self._find(image)
        return store.stamp(name)

    def _find(self, image: str) -> tuple[Store, str]:
        if "" in self._stores:
            return self._stores[""], image
        part, _, name = image.partition("/")
        return self._stores[part], name


def find(folder: Path, *names: str) -> Path | None:
    """The first of the files or folders of these names that is in the folder; the case of letters does not count.

    Raises:
        ValueError: two of them differ in nothing else.
    """
    try:
        there = sorted(entry.name for entry in os.scandir(folder))
    except OSError:
        return None
    for name in names:
        if name in there:
            return folder / name
        same = [other for other in there if other.casefold() == name.casefold()]
        if len(same) > 1:
            raise ValueError(f"{folder}: holds {' and '.join(same)}; which is '{name}'?")
        if same:
            return folder / same[0]
    return None


def store(places: Sequence[tuple[Path, str]], inner: Sequence[str], what: str) -> Store:
    """The first place that is there, a folder (which may be empty: absent pictures are counted later) or a zip.

    Args:
        places: (folder, name) to look at, in this order, as `find` does.
        inner: see `Archive`; a folder that holds one of these stands for that as well.
        what: is looked for, for the sentence.

    Raises:
        ValueError: none of them is there.
    """
    for folder, name in places:
        path = find(folder, name)
        if path is None:
            continue
        if path.is_dir():
            deeper = find(path, *inner)
            return Folder(deeper if deeper is not None and deeper.is_dir() else path)
        return Archive(path, inner)
    tried = ", ".join(str(folder / name) for folder, name in places)
    raise ValueError(f"{what}: there are no pictures; looked for {tried}")


def _root(pure: PurePosixPath, inner: Sequence[str]) -> PurePosixPath | None:
    """The folder of one of the names `inner` that a member lies in."""
    wanted = {name.casefold() for name in inner}
    for depth, part in enumerate(pure.parts[:-1]):
        if part.casefold() in wanted:
            return PurePosixPath(*pure.parts[: depth + 1])
    return None
