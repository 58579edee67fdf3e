"""MPII Human Pose: the json files that the field passes on, or the official mpii_human_pose_v1_u12_1.mat alone.

json: annot/{train,valid,trainval,test}.json, annot/gt_valid.mat, images/ (or images.zip). A record is `image`, `center` (x y,
1-based px), `scale` (height / 200 px), `joints` (16 x y, 1-based px) and `joints_vis` (16 of 0 or 1); test.json has no joints.

mat: the struct RELEASE. `annolist(i).annorect(p)` has `annopoints.point` (id 0 to 15, x, y), `scale`, `objpos` and the head
box x1 y1 x2 y2. MPII itself names no validation set. The field uses that of Tompson et al. (Efficient Object Localization Using
Convolutional Networks, CVPR 2015), a list of persons in `detections.mat` beside their results (`RELEASE_img_index`,
`RELEASE_person_index`, from 1). The rule that gives the json files' 22,246 and 2,958 persons: persons on the list are for
validation; other persons of the official training images are for training, unless their image shows a person on the list;
these are left out. Without that file the list is unknown, and one image in eight is held out by a hash of its name: a sound
split, but not that of published numbers, and the notes say so.

The person's box of other tools is derived from centre and scale: see `_box`.
"""

import faulthandler
import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets import archives, images
from pipeline.datasets.archives import Archive, Images, Store
from pipeline.datasets.records import Records, load_json, numbers, whole
from pipeline.skeleton import Skeleton, get

SKELETON: Skeleton = get("mpii_16")
PUBLISHED = {"train": 22246, "valid": 2958, "trainval": 29116, "test": 7247}  # persons in the json files
_FILES = ("train", "valid", "trainval", "test")
_HELD_OUT = 8  # without the list, one image in so many
_MOST_MEMORY = 16 << 30  # bytes that a MATLAB file may announce
_EXAMPLES = 3  # names that a note quotes


def read(
    folder: Path,
    train: Sequence[str] = ("train",),
    valid: Sequence[str] = ("valid",),
    single_person: bool = False,
) -> Records:
    """Return the persons of both splits.

    Args:
        folder: has annot/ and images/, or MPII's .mat in one of its usual places; or the parent of a folder `mpii`.
        train, valid: the json files of each split; `test` has no keypoints and is accepted in `valid` only.
        single_person: only people who stand apart from others by MPII's own list, which only the .mat has.

    Raises:
        ValueError: a file is missing or not what it should be; the sentence names the file and the record.
    """
    for name in (*train, *valid):
        if name not in _FILES:
            raise ValueError(f"{folder}: MPII has no set '{name}'; it has {', '.join(_FILES)}")
    if "test" in train:
        raise ValueError(f"{folder}: MPII's test.json has no keypoints to train on")
    root = _root(folder)
    stored = Images({"": _image_store(root)})
    annot = archives.find(root, "annot") or archives.find(root, "annotations")
    official = _official(root)
    if official is not None and (annot is None or archives.find(annot, "train.json") is None):
        return _read_mat(official, _list(root), stored, single_person)
    if single_person:
        raise ValueError(
            f"{root}: the json files do not say who stands apart; expected mpii_human_pose_v1_u12_1.mat alone"
        )
    if annot is None:
        raise ValueError(
            f"{root}: expected annot/train.json, annot/valid.json or mpii_human_pose_v1_u12_1.mat; there is neither"
        )
    parts, files = [], []
    for split, name in [*(("train", name) for name in train), *(("valid", name) for name in valid)]:
        path = annot / f"{name}.json"
        parts.append((split, _read_json(path, name)))
        files += [path, *([annot / "gt_valid.mat"] if name == "valid" and (annot / "gt_valid.mat").is_file() else [])]
    split_names = np.concatenate([np.full(len(columns[0]), split) for split, columns in parts])
    image, keypoints, box, head = (np.concatenate(column) for column in zip(*(part for _, part in parts), strict=True))
    return Records(
        skeleton=SKELETON,
        image_name=image,
        key=_numbered(image),
        split=split_names,
        keypoints=keypoints,
        box=box,
        head=head,
        score=np.ones(len(image)),
        images=stored,
        files=tuple(files),
    )


def _root(folder: Path) -> Path:
    """Return the folder itself, or a folder `mpii` of any spelling in it, or the folder under its other spelling."""
    if not folder.is_dir():
        other = archives.find(folder.parent, folder.name)
        if other is None or not other.is_dir():
            raise ValueError(f"{folder}: there is no such folder; expected MPII's annotations and images")
        folder = other
    if archives.find(folder, "annot", "annotations") is None and _official(folder) is None:
        return archives.find(folder, "mpii") or folder
    return folder


def _image_store(root: Path) -> Store:
    places = [(root, "images"), (root, "images.zip"), (root, "mpii_human_pose_v1")]
    packed = archives.find(root, "mpii_human_pose_v1.tar.gz")
    if packed is not None and all(archives.find(*place) is None for place in places):
        raise ValueError(f"{packed}: unpack it first; single images cannot be read out of it")
    return archives.open_store(places, ("images",), str(root))


def _numbered(image: np.ndarray) -> np.ndarray:
    """Return a key per person: the image's name and the person's number in it, in file order."""
    counts: dict[str, int] = {}
    keys = []
    for name in image.tolist():
        counts[name] = counts.get(name, -1) + 1
        keys.append(f"{name}#{counts[name]}")
    return np.array(keys, dtype=str)


def _read_json(path: Path, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return image name, keypoints, box and head size of each record."""
    records = load_json(path, "MPII annotations as a json list")
    if not isinstance(records, list) or not records:
        got = "an empty one" if records == [] else type(records).__name__
        raise ValueError(f"{path}: expected a list of records, got {got}")
    count = len(records)
    keypoints, box, names = np.full((count, len(SKELETON), 2), np.nan), np.zeros((count, 4)), []
    needed = {"image", "center", "scale"} | (set() if name == "test" else {"joints", "joints_vis"})
    for row, record in enumerate(records):
        what = f"{path}: record {row}"
        if not isinstance(record, dict):
            raise ValueError(f"{what}: expected a mapping, got {type(record).__name__}")
        missing = sorted(needed - set(record))
        if missing:
            raise ValueError(f"{what}: '{missing[0]}' is missing")
        names.append(_image_name(record["image"], what))
        centre, scale = numbers(record["center"], (2,), "center", what), numbers(record["scale"], (), "scale", what)
        box[row] = _box(centre, float(scale), what)
        if name != "test":
            labelled = numbers(record["joints_vis"], (len(SKELETON),), "joints_vis", what) > 0
            one_based = numbers(record["joints"], (len(SKELETON), 2), "joints", what)
            keypoints[row] = np.where(labelled[:, None], one_based - 1, np.nan)
    head = _head_sizes(path.parent / "gt_valid.mat", count) if name == "valid" else np.full(count, np.nan)
    return np.array(names, dtype=str), keypoints, box, head


def _image_name(name: Any, what: str) -> str:
    if not isinstance(name, str):
        raise ValueError(f"{what}: expected the image's name as 'image', got {name!r}")
    images.inside(Path("images"), name, what)
    return name


def _box(centre: np.ndarray, scale: float, what: str) -> np.ndarray:
    """Return the square of the field's MPII loaders: the centre 15 `scale` lower, the side 200 px times 1.25 `scale`."""
    if scale <= 0:
        raise ValueError(f"{what}: scale must be positive, got {scale}")
    if centre[0] != -1:
        centre = centre + [0, 15 * scale]
        scale = scale * 1.25
    centre = centre - 1
    half = 200 * scale / 2
    return np.concatenate([centre - half, centre + half])


def _head_sizes(path: Path, count: int) -> np.ndarray:
    """Return (valid persons,) px: 0.6 times the diagonal of the head box, MPII's own rule; NaN without the file."""
    if not path.is_file():
        return np.full(count, np.nan)
    loaded = _load_mat(path, path.read_bytes())
    if "headboxes_src" not in loaded:
        raise ValueError(f"{path}: expected the matrix 'headboxes_src'")
    boxes = numbers(loaded["headboxes_src"], (2, 2, count), "headboxes_src", f"{path}, beside valid.json")
    return 0.6 * np.linalg.norm(boxes[1] - boxes[0], axis=0)


def _official(root: Path) -> Path | None:
    """Return MPII's annotation file: in the folder, in annot/, in its unpacked zip, or that zip; None without one."""
    for folder in (root, archives.find(root, "annot"), archives.find(root, "mpii_human_pose_v1_u12_2")):
        if folder is not None and folder.is_dir():
            path = archives.find(folder, "mpii_human_pose_v1_u12_1.mat", "mpii_human_pose_v1_u12_2.zip")
            if path is not None and path.is_file():
                return path
    return None


def _list(root: Path) -> Path | None:
    """Return the file of Tompson's list of validation persons; None without one."""
    data = archives.find(root, "mpii_valid_pred")
    for folder in (root, archives.find(root, "annot"), data, data and archives.find(data, "data")):
        if folder is not None and folder.is_dir():
            path = archives.find(folder, "detections.mat")
            if path is not None:
                return path
    return None


def _load_mat(path: Path, data: bytes) -> dict[str, Any]:
    """Return a MATLAB file's variables, structs as arrays of records.

    scipy's reader trusts the lengths in a file: 3 in 100 of MPII's files with one changed byte end the process (SIGSEGV,
    SIGBUS). A child process therefore reads the file first.
    """
    from scipy.io import loadmat

    reads = _child_reads_forked(data) if hasattr(os, "fork") else _child_reads_spawned(data)
    if not reads:
        raise ValueError(f"{path}: damaged; MATLAB's format is broken somewhere in it")
    try:
        loaded: dict[str, Any] = loadmat(io.BytesIO(data))
    except Exception as error:  # noqa: BLE001  scipy raises half a dozen kinds for files that are not MATLAB's
        raise ValueError(f"{path}: not readable as a MATLAB file ({error})") from None
    return loaded


def _child_reads_forked(data: bytes) -> bool:
    """Return whether a child process with bounded memory survives reading a MATLAB file."""
    import resource

    from scipy.io import loadmat

    child = os.fork()
    if child == 0:
        ended = 1
        try:
            faulthandler.disable()
            resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
            loadmat(io.BytesIO(data))
            ended = 0
        except MemoryError:
            ended = 2
        except Exception:  # noqa: BLE001  the parent raises the same error
            ended = 0
        finally:
            os._exit(ended)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _child_reads_spawned(data: bytes) -> bool:
    """Return the same on systems without fork: slower, and the child's memory has no bound."""
    program = (
        "import io, sys\nfrom scipy.io import loadmat\ntry:\n    loadmat(io.BytesIO(sys.stdin.buffer.read()))\n"
        "except MemoryError:\n    sys.exit(2)\nexcept Exception:\n    pass\n"
    )
    return subprocess.run([sys.executable, "-c", program], input=data, capture_output=True, check=False).returncode == 0


def _read_mat(path: Path, listed: Path | None, stored: Images, single_person: bool) -> Records:
    if path.suffix.lower() == ".zip":
        data = Archive(path, ("mpii_human_pose_v1_u12_2",)).read("mpii_human_pose_v1_u12_1.mat")
    else:
        data = path.read_bytes()
    release = _load_mat(path, data).get("RELEASE")
    release = _struct(release, ("annolist", "img_train"), f"{path}: RELEASE")
    annolist = _structs(release["annolist"])
    for_training = np.ravel(release["img_train"])
    if len(for_training) != len(annolist):
        raise ValueError(
            f"{path}: expected an entry of RELEASE.img_train for each of annolist's {len(annolist)} images, "
            f"got {len(for_training)}"
        )
    apart = _apart(release, len(annolist), path)
    on_list = _validation(listed) if listed is not None else None
    images_on_list = {image for image, _ in on_list or ()}
    if on_list is not None and max(images_on_list, default=0) > len(annolist):
        raise ValueError(f"{listed}: image {max(images_on_list)} of {len(annolist)}")
    columns: list[tuple[str, str, str, np.ndarray, np.ndarray, float]] = []
    without, left_out, doubtful, alone = [], 0, 0, 0
    for number, entry in enumerate(annolist, start=1):
        if not for_training[number - 1]:
            continue
        what = f"{path}: annolist({number})"
        name = _image_name(_text(_struct(_field(entry, "image"), ("name",), f"{what}.image")["name"]), what)
        persons = _structs(_field(entry, "annorect"))
        annotated = 0
        for person, rectangle in enumerate(persons, start=1):
            here = f"{what}.annorect({person})"
            points = _points(rectangle)
            scale, centre = _field(rectangle, "scale"), _structs(_field(rectangle, "objpos"))
            if not points or _empty(scale) or not centre:
                continue
            annotated += 1
            alone += (number, person) in apart
            if single_person and (number, person) not in apart:
                continue
            if on_list is None:
                split = "valid" if _held_out(name) else "train"
            elif (number, person) in on_list:
                split = "valid"
            elif number in images_on_list:
                left_out += 1
                continue
            else:
                split = "train"
            keypoints, twice = _keypoints(points, here)
            doubtful += twice
            box = _box(
                np.array([_number(centre[0], "x", here), _number(centre[0], "y", here)]),
                _scalar(scale, "scale", here),
                here,
            )
            columns.append((name, f"{name}#{person}", split, keypoints, box, _head_size(rectangle, here)))
        if not annotated:
            without.append(name)
    if not columns:
        raise ValueError(f"{path}: no image of the official training set has an annotated person")
    image, key, split_names, keypoints_, box_, head = zip(*columns, strict=True)
    notes = [f"{path}: {alone} persons stand apart from others"] if apart else []
    if on_list is None:
        notes.append(
            f"{path}: no detections.mat beside it, so one image in {_HELD_OUT} is held out by a hash of its name; "
            "this is not the split of published numbers"
        )
    if left_out:
        notes.append(f"{path}: {left_out} persons left out, as another person of their image is for validation")
    if without:
        notes.append(f"{path}: {len(without)} training images without an annotated person ({_some(without)})")
    if doubtful:
        notes.append(f"{path}: {doubtful} keypoints that are there twice count as not labelled")
    files = (path,) if listed is None else (path, listed)
    return Records(
        skeleton=SKELETON,
        image_name=np.array(image, dtype=str),
        key=np.array(key, dtype=str),
        split=np.array(split_names),
        keypoints=np.array(keypoints_),
        box=np.array(box_),
        head=np.array(head),
        score=np.ones(len(image)),
        images=stored,
        files=files,
        notes=tuple(notes),
    )


def _apart(release: Any, count: int, path: Path) -> set[tuple[int, int]]:
    """Return (image, person), both from 1, of the people in RELEASE.single_person; empty without that field."""
    if "single_person" not in release.dtype.names:
        return set()
    cells = np.ravel(release["single_person"])
    if cells.dtype != object or len(cells) != count:
        raise ValueError(f"{path}: expected a cell of RELEASE.single_person for each of the {count} images")
    apart = set()
    for number, persons in enumerate(cells, start=1):
        values = np.ravel(persons)
        values = numbers(values, values.shape, "single_person", f"{path}: image {number}")
        apart |= {(number, int(person)) for person in values}
    return apart


def _validation(path: Path) -> set[tuple[int, int]]:
    """Return the listed (image, person), both from 1."""
    loaded = _load_mat(path, path.read_bytes())
    columns = []
    for name in ("RELEASE_img_index", "RELEASE_person_index"):
        if name not in loaded:
            raise ValueError(f"{path}: expected the matrix '{name}'")
        values = np.ravel(loaded[name])
        values = numbers(values, values.shape, name, str(path))
        if (values < 1).any() or (values != np.round(values)).any():
            raise ValueError(f"{path}: expected whole numbers from 1 in '{name}'")
        columns.append(values.astype(int).tolist())
    if len(columns[0]) != len(columns[1]):
        raise ValueError(f"{path}: {len(columns[0])} images for {len(columns[1])} persons")
    return set(zip(*columns, strict=True))


def _held_out(name: str) -> bool:
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % _HELD_OUT == 0


def _keypoints(points: list[Any], what: str) -> tuple[np.ndarray, int]:
    """Return (16, 2) px, NaN if unlabelled or there twice, and how many are there twice."""
    keypoints, times = np.full((len(SKELETON), 2), np.nan), np.zeros(len(SKELETON), dtype=int)
    for point in points:
        joint = whole(_number(point, "id", what), "id", what)
        if not 0 <= joint < len(SKELETON):
            raise ValueError(f"{what}: expected a point's id from 0 to {len(SKELETON) - 1}, got {joint}")
        keypoints[joint] = _number(point, "x", what) - 1, _number(point, "y", what) - 1
        times[joint] += 1
    keypoints[times > 1] = np.nan
    return keypoints, int((times > 1).sum())


def _head_size(rectangle: Any, what: str) -> float:
    sides = [_field(rectangle, name) for name in ("x1", "y1", "x2", "y2")]
    if any(_empty(side) for side in sides):
        return np.nan
    x1, y1, x2, y2 = (_scalar(side, name, what) for side, name in zip(sides, ("x1", "y1", "x2", "y2"), strict=True))
    size = 0.6 * float(np.hypot(x2 - x1, y2 - y1))
    return size if size > 0 else np.nan


def _points(rectangle: Any) -> list[Any]:
    points = _structs(_field(rectangle, "annopoints"))
    return _structs(_field(points[0], "point")) if points else []


# A struct of MATLAB's is an array of records; without a record it is an empty matrix.


def _structs(value: Any) -> list[Any]:
    return list(np.ravel(value)) if isinstance(value, np.ndarray) and value.dtype.names else []


def _struct(value: Any, fields: tuple[str, ...], what: str) -> Any:
    structs = _structs(value)
    if len(structs) != 1 or any(field not in structs[0].dtype.names for field in fields):
        raise ValueError(f"{what}: expected one struct with {', '.join(fields)}")
    return structs[0]


def _field(record: Any, name: str) -> Any:
    return record[name] if name in record.dtype.names else None


def _empty(value: Any) -> bool:
    return value is None or np.size(value) == 0


def _number(record: Any, name: str, what: str) -> float:
    return _scalar(_field(record, name), name, what)


def _scalar(value: Any, name: str, what: str) -> float:
    if _empty(value) or np.size(value) != 1:
        raise ValueError(f"{what}: expected a number as '{name}'")
    return float(numbers(np.ravel(value)[0], (), name, what))


def _text(value: Any) -> Any:
    return str(np.ravel(value)[0]) if np.size(value) == 1 and np.asarray(value).dtype.kind == "U" else None


def _some(names: list[str]) -> str:
    return ", ".join(names[:_EXAMPLES]) + (", ..." if len(names) > _EXAMPLES else "")
