"""Human3.6M as labelled persons, for training with labels."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from pipeline.datasets import videos
from pipeline.datasets.archives import Images
from pipeline.datasets.h36m import images as h36m_images
from pipeline.datasets.h36m.layouts import annotation_files, open_takes
from pipeline.datasets.h36m.selection import H36m, SelectedTake, select_frames
from pipeline.datasets.h36m.takes import CAMERAS, SKELETON, VideoFile, published_box
from pipeline.datasets.records import Records
from pipeline.files.space import Space


def read_labelled(folder: Path, config: H36m) -> Records:
    """Return Human3.6M as labelled persons, one per (frame, view); annotations and images are in one folder.

    Raises:
        ValueError: see `open_takes` and `select_frames`.
    """
    stack = ExitStack()  # unpacked archives are needed as long as the images, which keep it
    takes, notes = stack.enter_context(open_takes(folder, folder, config.subjects))
    selected, left_out = select_frames(takes, config)
    return labelled(selected, annotation_files(folder), (*notes, *left_out), stack)


def labelled(
    selected: Sequence[SelectedTake], files: Sequence[Path], notes: Sequence[str], keep: object = None
) -> Records:
    """Return every (frame, view) as a labelled person, view after view of a take.

    `split` is "train" for the train subjects and "valid" for the others; the head size is a tenth of the published box.

    Args:
        selected: takes with footage.
        files: the annotation files.
        notes: sentences for `Records.notes`.
        keep: an object that lives as long as the images.
    """
    image_name, split, keypoints, box = [], [], [], []
    space: list[Space] = []
    frame_groups = 0
    numbers: dict[str, list[int]] = {}
    paths: dict[str, Path] = {}
    files_of_images: Images | None = None
    recorded = {camera.name for each in selected for camera in each.take.cameras}
    view_names = [name for name in CAMERAS if name in recorded]
    for each in selected:
        labels = each.labels()
        roots = labels.joints[:, SKELETON.root]
        own = each.numbers.tolist()
        for view, (camera, footage) in enumerate(zip(each.take.cameras, each.take.footage, strict=True)):
            if isinstance(footage, VideoFile):
                name = f"{each.take.name}_ca_{view + 1:02}"
                numbers[name], paths[name] = own, footage.path
                image_name += [f"{name}#{number}" for number in own]
            else:
                files_of_images = footage.images
                image_name += [footage.names[number] for number in own]
            keypoints.append(labels.keypoints[:, view])
            box.append(published_box(camera, roots))
            groups = frame_groups + np.arange(len(own))
            number = view_names.index(camera.name)
            space.append(Space.of(labels.joints, camera, groups, view=number, rig=each.take.subject))
            split += ["train" if each.split == "train" else "valid"] * len(own)
        frame_groups += len(each.rows)
    boxes_px = np.concatenate(box)
    rows = np.flatnonzero(np.isfinite(boxes_px).all(axis=1))
    images = files_of_images if files_of_images is not None else h36m_images.VideoImages(numbers, paths, keep)
    return Records(
        skeleton=SKELETON,
        image_name=np.array(image_name)[rows],
        key=np.array(image_name)[rows],
        split=np.array(split)[rows],
        keypoints=np.concatenate(keypoints)[rows],
        box=boxes_px[rows],
        head=(boxes_px[rows, 2] - boxes_px[rows, 0]) / 10,
        score=np.ones(len(rows)),
        images=images,  # type: ignore[arg-type]
        files=tuple(files),
        notes=tuple(notes),
        decoder=videos.decoder() if numbers else "",
        space=Space.concatenated(space).take(rows),
    )
