"""A data set's files in a folder or a zip, with or without an inner folder, in either spelling.

Zips are read in place; nothing is unpacked to a disk. An archive with a member whose name leads out of it is refused. A
member's stated size is checked before a byte of it is unpacked.
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

_LARGEST = 256 << 20  # bytes of a member, unpacked; the largest image of the known sets has 30 MB
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,  # a compression that Python lacks
    OverflowError,
    RuntimeError,  # encrypted
    ValueError,
)


class Store(Protocol):
    """Files by name. A name is `/`-separated, and cannot leave the store."""

    path: Path

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            ValueError: the file is absent or cannot be read.
        """
        ...

    def stamp(self, name: str) -> tuple[int, int] | None:
        """Return the file's size in bytes and a number that changes with the file; None if it is absent."""
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
            raise ValueError(f"{path}: there is no such image") from None
        except OSError as error:
            raise ValueError(f"{path}: not readable ({error.strerror})") from None

    def stamp(self, name: str) -> tuple[int, int] | None:
        try:
            stat = images.inside(self.path, name, str(self.path)).stat()
        except OSError:
            return None
        return stat.st_size, stat.st_mtime_ns


class Archive:
    """A zip as a `Store`, for any number of threads at once."""

    def __init__(self, path: Path, inner: Sequence[str] = ()) -> None:
        """Open a zip.

        Args:
            path: of the zip.
            inner: possible names of a folder inside (`images`); names are relative to that folder, at any depth, if there
                is one.

        Raises:
            ValueError: no zip, or one that is not safe to read.
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
            raise ValueError(f"{path}: holds several folders of images, {', '.join(map(str, roots))}")
        if roots:
            files = {pure.relative_to(roots[0]): info for pure, info in files.items() if pure.is_relative_to(roots[0])}
        self._files = {str(pure): info for pure, info in files.items()}
        self._changed = os.stat(path).st_mtime_ns

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""
        return sorted(self._files)

    def read(self, name: str) -> bytes:
        images.inside(self.path, name, str(self.path))
        info = self._files.get(str(PurePosixPath(name.replace("\\", "/"))))
        if info is None:
            raise ValueError(f"{self.path}@{name}: there is no such image")
        if info.file_size > _LARGEST:
            raise ValueError(f"{self.path}@{name}: {info.file_size} bytes unpacked, more than any image has")
        try:
            with self._zip.open(info) as member:
                return member.read(info.file_size)
        except (*_ZIP_ERRORS, OSError) as error:
            raise ValueError(f"{self.path}@{name}: not readable ({error})") from None

    def stamp(self, name: str) -> tuple[int, int] | None:
        info = self._files.get(str(PurePosixPath(name.replace("\\", "/"))))
        return None if info is None else (info.file_size, info.CRC ^ self._changed)


class Images:
    """The images of a data set, from one store or one store per part: `train2017/000000000009.jpg` is in `train2017`."""

    def __init__(self, stores: Mapping[str, Store]) -> None:
        """`stores`: part -> its store; the part "" is the whole set."""
        self._stores = dict(stores)

    def read(self, name: str) -> np.ndarray:
        """Return an image, (height, width, 3) uint8 BGR.

        Raises:
            ValueError: the image is absent, truncated or none.
        """
        store, inner = self._find(name)
        separator = "@" if isinstance(store, Archive) else "/"
        return images.decode(store.read(inner), f"{store.path}{separator}{inner}")

    def stamp(self, name: str) -> tuple[int, int] | None:
        """Return the image's size in bytes and a number that changes with it; None if it is absent."""
        store, inner = self._find(name)
        return store.stamp(inner)

    def _find(self, name: str) -> tuple[Store, str]:
        if "" in self._stores:
            return self._stores[""], name
        part, _, inner = name.partition("/")
        return self._stores[part], inner


def find(folder: Path, *names: str) -> Path | None:
    """Return the first of the files or folders of these names in a folder, in any case of letters; None without one.

    Raises:
        ValueError: two of them differ in the case of letters only.
    """
    try:
        entries = sorted(entry.name for entry in os.scandir(folder))
    except OSError:
        return None
    for name in names:
        if name in entries:
            return folder / name
        same = [other for other in entries if other.casefold() == name.casefold()]
        if len(same) > 1:
            raise ValueError(f"{folder}: holds {' and '.join(same)}; expected one '{name}'")
        if same:
            return folder / same[0]
    return None


def open_store(places: Sequence[tuple[Path, str]], inner: Sequence[str], what: str) -> Store:
    """Return the first place that exists, a folder (which may be empty: absent images are counted later) or a zip.

    Args:
        places: (folder, name), searched in this order as by `find`.
        inner: see `Archive`; a folder's inner folder of one of these names is used instead of the folder.
        what: the set's name in errors.

    Raises:
        ValueError: none of the places exists.
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
    raise ValueError(f"{what}: there are no images; looked for {tried}")


def _root(pure: PurePosixPath, inner: Sequence[str]) -> PurePosixPath | None:
    """Return the folder with one of the names `inner` that a member lies in; None without one."""
    names = {name.casefold() for name in inner}
    for depth, part in enumerate(pure.parts[:-1]):
        if part.casefold() in names:
            return PurePosixPath(*pure.parts[: depth + 1])
    return None
