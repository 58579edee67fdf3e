"""Human3.6M's annotations in the layouts that copies of it have.

Layouts, recognised by the files that are present: the record files of the multiview code (records.py), the official download
(release.py), folders with matlab_meta.txt (matlab.py). The challenge's set has no cameras (challenge.py).
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.datasets.h36m import challenge, matlab, records, release
from pipeline.datasets.h36m.takes import Take, take_name


def is_here(annotations: Path) -> bool:
    """Return whether there are annotations of Human3.6M in one of the layouts with cameras."""
    return bool(records.find(annotations) or release.find(annotations) or matlab.find(annotations))


@contextmanager
def open_takes(
    annotations: Path, place: Path | None, subjects: Sequence[int]
) -> Iterator[tuple[list[Take], list[str]]]:
    """Open the takes of some subjects, ordered by subject, action and subaction, with sentences on corrections.

    Args:
        annotations: the record files' folder or one of them; metadata.xml or the folder that it is in; the folder of the
            matlab_meta.txt folders.
        place: the folder or zip of the images, the folder of the videos; None if only labels are read.
        subjects: their numbers.

    Raises:
        ValueError: nothing of Human3.6M is there, or it is damaged or inconsistent.
    """
    if records.find(annotations):
        yield records.read(annotations, place, subjects)
        return
    metadata = release.find(annotations)
    if metadata is not None:
        files = place or (metadata.parent if annotations.is_file() else annotations)
        with tempfile.TemporaryDirectory(prefix="rigpose-h36m-") as scratch:
            yield release.read(metadata, files, subjects, Path(scratch), place is not None)
        return
    if matlab.find(annotations):
        yield matlab.read(annotations, place, subjects)
        return
    if challenge.is_here(annotations):
        raise ValueError(
            f"{annotations}: the challenge's set has no cameras, so that nothing can be triangulated; it is read by "
            "prepare_source (sources.<name>.layout: h36m_challenge)"
        )
    raise ValueError(
        f"{annotations}: expected {' or '.join(records.FILES)}, metadata.xml of the official download, or folders such "
        f"as {take_name(1, 2, 1)}_ca_01/{matlab.FILE}"
    )


def annotation_files(annotations: Path) -> list[Path]:
    """Return the files that labels are read from."""
    metadata = release.find(annotations)
    if record_files := records.find(annotations):
        return record_files
    if metadata is not None:
        root = metadata.parent if annotations.is_file() else annotations
        endings = (".cdf", *release.ARCHIVES)
        return [metadata, *sorted(path for path in root.rglob("*") if path.name.lower().endswith(endings))]
    return [path for views in matlab.find(annotations).values() for path in views.values()]
