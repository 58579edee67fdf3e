"""Human3.6M as labelled persons, for training with labels."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from pipeline.datasets import videos
from pipeline.datasets.archives import Pictures
from pipeline.datasets.h36m import images as h36m_images
from pipeline.datasets.h36m.layouts import annotation_files, open_takes
from pipeline.datasets.h36m.selection import H36m, SelectedTake, select_frames
from pipeline.datasets.h36m.takes import SKELETON, Film, published_box
from pipeline.datasets.records import Records
from pipeline.files.space import Space


def read_labelled(folder: Path, config: H36m) -> Records:
    """Human3.6M as labelled persons, every (frame, view) one, for training with labels; annotations and pictures in one folder.

    Raises:
        ValueError: see `open_takes` and `select_frames`.
    """
    stack = ExitStack()  # what is unpacked is needed as long as the pictures are: they keep it
    takes, notes = stack.enter_context(open_takes(folder, folder, config.subjects))
    chosen, left = select_frames(takes, config)
    return labelled(chosen, annotation_files(folder), (*notes, *left), stack)


def labelled(
    chosen: Sequence[SelectedTake], files: Sequence[Path], notes: Sequence[str], keep: object = None
) -> Records:
    """Every (frame, view) as a labelled person, view after view of a take.

    `split` is "train" for the train subjects and "valid" for the others; the head size is a tenth of the published box.
    `keep` lives as long as the pictures.
    """
    image, split, joints, box = [], [], [], []
    space: list[Space] = []
    moments = 0
    wanted: dict[str, list[int]] = {}
    paths: dict[str, Path] = {}
    stills: Pictures | None = None
    for each in chosen:
        labels = each.labels()
        roots = labels.joints[:, SKELETON.root]
        for view, (camera, footage) in enumerate(zip(each.take.cameras, each.take.footage, strict=True)):
            numbers = each.numbers.tolist()
            if isinstance(footage, Film):
                name = f"{each.take.name}_ca_{view + 1:02}"
                wanted[name], paths[name] = numbers, footage.path
                image += [f"{name}#{number}" for number in numbers]
            else:
                stills = footage.pictures
                image += [footage.names[number] for number in numbers]
            joints.append(labels.points[:, view])
            box.append(published_box(camera, roots))
            space.append(Space.of(labels.joints, camera, moments + np.arange(len(numbers)), view))
            split += ["train" if each.split == "train" else "valid"] * len(numbers)
        moments += len(each.rows)
    boxes_px, points = np.concatenate(box), np.concatenate(joints)
    known = np.isfinite(boxes_px).all(axis=1)
    rows = np.flatnonzero(known)
    return Records(
        skeleton=SKELETON,
        image=np.array(image)[rows],
        key=np.array(image)[rows],
        split=np.array(split)[rows],
        joints=points[rows],
        box=boxes_px[rows],
        head=(boxes_px[rows, 2] - boxes_px[rows, 0]) / 10,
        score=np.ones(len(rows)),
        pictures=stills if stills is not None else h36m_images.Films(wanted, paths, keep),  # type: ignore[arg-type]
        files=tuple(files),
        notes=tuple(notes),
        decoder=videos.decoder() if wanted else "",
        space=Space.joined(space).rows(rows),
    )
