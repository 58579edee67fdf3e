"""Folders for the intermediate results of long stages, so that an interrupted stage resumes instead of starting over.

A training keeps checkpoints, a preparation its journal of crops. The folder lies outside of the stage's outputs, under
data/scratch (POSE_SCRATCH, an absolute path, puts it elsewhere), and its name is a fingerprint of
everything that decides the result: a run with other inputs, params or code never finds it.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from pipeline import code, locks

_LIBRARIES = ("torch", "torchvision", "numpy", "opencv-python-headless")  # other versions give other bytes


@contextmanager
def resumable_folder(stage: str | Path, inputs: Sequence[Path], *params: object) -> Iterator[Path]:
    """Open a folder for the checkpoints of one training; it is removed when the block ends without an error.

    If another process holds the folder, this one waits. Write checkpoints with `atomic.replacing`.

    Args:
        stage: the stage's source file, `__file__`; its name is the folder's, its imports are part of the fingerprint.
        inputs: the files that the training reads.
        params: whatever else decides the result, such as the sections of params.yaml and the device; by their repr.

    Raises:
        ValueError: POSE_SCRATCH is not an absolute path.
    """
    stage = Path(stage)
    elsewhere = os.environ.get("POSE_SCRATCH")
    base = Path(elsewhere) if elsewhere else Path("data", "scratch").absolute()
    if not base.is_absolute():
        raise ValueError(f"POSE_SCRATCH: expected an absolute path, got '{base}'")
    base.mkdir(parents=True, exist_ok=True)
    folder = base / f"{stage.stem}-{fingerprint(stage, inputs, *params)[:16]}"
    parent = os.getppid()
    with locks.held(folder.with_suffix(".lock")):
        folder.mkdir(exist_ok=True)
        yield folder
        # A killed dvc leaves its training running, and the next `dvc repro` waits for it: then the checkpoints let that
        # one end at once.
        if os.getppid() == parent:
            shutil.rmtree(folder)
            if not elsewhere:  # what is shared may be of use to others
                _remove_stale(base, stage.stem)


def fingerprint(stage: Path, inputs: Sequence[Path], *params: object) -> str:
    """Return a hexadecimal digest of everything that decides the result: bytes of inputs, code, params, versions."""
    digest = hashlib.sha256()
    for path in inputs:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    digest.update(code.text(stage.resolve()).encode())
    digest.update(repr(params).encode())
    digest.update(repr([(name, _version(name)) for name in _LIBRARIES]).encode())
    return digest.hexdigest()


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "none"


def _remove_stale(base: Path, stage: str) -> None:
    """Remove the folders of the stage's other trainings, except of trainings that still run."""
    for folder in sorted(base.glob(f"{stage}-" + "[0-9a-f]" * 16)):
        with locks.held(folder.with_suffix(".lock"), wait=False) as free:
            if free:
                shutil.rmtree(folder)
