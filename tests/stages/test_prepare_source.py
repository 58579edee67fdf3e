"""Prepare source through its own command line: MPII's layout becomes crops with joints, boxes and head sizes."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from ruamel.yaml import YAML
from scipy.io import savemat

from pipeline import cli, crops
from pipeline.files.samples import Samples
from stages import prepare_source
from tests.pipeline_graph import ROOT
from tests.worlds import people_world
from tests.worlds.people_world import mpii_record as record

JOINTS = (people_world.JOINTS[:16] + 1).tolist()  # 1-based px


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Two images to train on, one of them with two people, and one to validate on."""
    return people_world.write_mpii(tmp_path / "people")


def put(folder: Path, split: str, records: object) -> None:
    (folder / f"annot/{split}.json").write_text(json.dumps(records))


SOURCE = {"cache_size": 48, "cache_margin": 0.4, "jpeg_quality": 92, "unreadable": "refuse"}


def write_params(folder: Path, **params: object) -> Path:
    """Write params of `sources.people` and of `source_cache`, whichever has the key."""
    source_cache = {key: params.get(key, value) for key, value in SOURCE.items()}
    people = {"path": str(folder), "layout": "mpii"} | {key: params[key] for key in params.keys() - SOURCE.keys()}
    path = folder.parent / "params.yaml"
    YAML().dump({"sources": {"people": people}, "source_cache": source_cache}, path)
    return path


def flags(folder: Path, **params: object) -> list[str]:
    out = folder.parent / "out"
    return [
        *("--data", str(folder), "--name", "people", "--out", str(out / "people.h5")),
        *("--metrics", str(out / "people.json"), "--params", str(write_params(folder, **params))),
    ]


def prepare(folder: Path, monkeypatch: pytest.MonkeyPatch, **params: object) -> Samples:
    monkeypatch.chdir(folder.parent)
    monkeypatch.delenv("POSE_SCRATCH", raising=False)
    cli.run(prepare_source.main, argv=flags(folder, **params))
    assert list((folder.parent / "data/scratch").iterdir()) == []  # nothing is left behind
    return Samples.read(folder.parent / "out/people.h5")


def test_keys_splits_boxes_and_heads(people, monkeypatch):
    samples = prepare(people, monkeypatch)
    assert samples.key.tolist() == ["b.jpg#0", "a.jpg#0", "b.jpg#1", "c.jpg#0"]
    assert samples.split.tolist() == ["train", "train", "train", "valid"]
    # centre (91, 92 + 15 * 0.6) is (90, 100) from 0; the side is 200 * 0.6 * 1.25
    np.testing.assert_allclose(samples.box[0], [15, 25, 165, 175])  # px
    np.testing.assert_allclose(samples.head, [np.nan, np.nan, np.nan, 0.6 * 50])  # px
    np.testing.assert_allclose(samples.keypoints[0], np.array(JOINTS) - 1.0)  # px, from 0
    assert samples.visible.all()


def test_crops_show_the_image_where_their_affine_says(people, monkeypatch):
    samples = prepare(people, monkeypatch, jpeg_quality=100)
    image = cv2.imread(str(people / "images/b.jpg"))
    for row in (0, 2):
        crop = samples.image(row)
        expected = crops.warp(image, samples.crop_from_image[row], len(crop))
        assert abs(crop.astype(int) - expected.astype(int)).mean() < 3  # grey values
    box = crops.transform(samples.crop_from_image[0], samples.box[0].reshape(2, 2))
    np.testing.assert_allclose(box[1] - box[0], 48, atol=1.0)  # px: source_cache.cache_size
    small = crops.transform(samples.crop_from_image[2], samples.box[2].reshape(2, 2))
    np.testing.assert_allclose(small[1] - small[0], 48, atol=1.0)  # 50 px in the image


def test_nothing_is_enlarged(people, monkeypatch):
    samples = prepare(people, monkeypatch, cache_size=400)
    np.testing.assert_allclose(samples.crop_from_image[0, :, :2], np.eye(2))
    assert samples.image(0).shape[0] == 210  # px: 150 times 1.4


def test_joints_without_a_label_or_outside_are_nan(people, monkeypatch):
    outside = [[300, 20], *JOINTS[1:]]
    put(people, "train", [record("a.jpg", joints=outside, joints_vis=[1] * 15 + [0])])
    samples = prepare(people, monkeypatch)
    assert np.isnan(samples.keypoints[0, [0, 15]]).all()
    assert np.isfinite(samples.keypoints[0, 1:15]).all()
    assert samples.visible[0].tolist() == [False, *[True] * 14, False]


def test_equal_bytes_for_any_number_of_workers(people, monkeypatch):
    made = []
    for workers in ("1", "4"):
        monkeypatch.setenv("POSE_WORKERS", workers)
        prepare(people, monkeypatch)
        made.append([path.read_bytes() for path in sorted((people.parent / "out").iterdir())])
    assert made[0] == made[1]


def test_without_head_boxes_the_head_size_is_not_known(people, monkeypatch):
    (people / "annot/gt_valid.mat").unlink()
    assert np.isnan(prepare(people, monkeypatch).head).all()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"joints": [[float("nan"), 3.0], *JOINTS[1:]]}, "train.json: record 1: 'joints' holds NaN or infinity"),
        ({"joints": JOINTS[:15]}, "record 1: expected 'joints' of shape (16, 2), got (15, 2)"),
        ({"joints": "many"}, "record 1: 'joints' holds something that is no number"),
        ({"scale": -1.0}, "record 1: scale must be positive, got -1"),
        ({"scale": None}, "record 1: 'scale' holds something that is no number"),
        ({"scale": "1"}, "record 1: 'scale' holds something that is no number"),
        ({"scale": True}, "record 1: 'scale' holds something that is no number"),
        ({"scale": 10**400}, "record 1: 'scale' holds something that is no number"),
        ({"scale": 1e6}, "px of no person"),
        ({"scale": 1e-6}, "px of no person"),
        ({"center": [1e200, 3]}, "px of no person"),
        ({"image": 5}, "record 1: expected the image's name as 'image', got 5"),
        ({"image": "../a.jpg"}, "record 1: expected the name of a file inside"),
        ({"image": "/etc/passwd"}, "record 1: expected the name of a file inside"),
        ({"image": "C:\\a.jpg"}, "record 1: expected the name of a file inside"),
        ({"image": ""}, "record 1: expected the name of a file inside"),
        ({"image": "."}, "record 1: expected the name of a file inside"),
        ({"image": "\ud800.jpg"}, "record 1: expected the name of a file inside"),
        ({"image": "x" * 5000}, "there is no such image"),
        ({"image": "d.jpg"}, "d.jpg: there is no such image"),
    ],
)
def test_records_that_cannot_be_right(people, monkeypatch, capsys, changes, sentence):
    out = people.parent / "out"
    prepare(people, monkeypatch)
    earlier = {path: path.read_bytes() for path in out.iterdir()}
    capsys.readouterr()
    put(people, "train", [record("b.jpg"), record("a.jpg") | changes])
    with pytest.raises(SystemExit) as ended:
        prepare(people, monkeypatch)
    assert ended.value.code == 1
    assert sentence in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.iterdir()} == earlier


def damage(folder: Path, what: str) -> None:
    image = folder / "images/a.jpg"
    match what:
        case "truncated":
            image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
        case "empty":
            image.write_bytes(b"")
        case "text":
            image.write_text("no image at all")
        case "json":
            (folder / "annot/train.json").write_text('[{"image": ')
        case "mapping":
            put(folder, "train", {"records": []})
        case "list":
            put(folder, "train", [3])
        case "key":
            put(folder, "train", [{"image": "a.jpg"}])
        case "absent":
            (folder / "annot/valid.json").unlink()
        case "heads":
            savemat(folder / "annot/gt_valid.mat", {"headboxes_src": np.zeros((2, 2, 7))})
        case "matlab":
            (folder / "annot/gt_valid.mat").write_text("no matrix")


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("truncated", "a.jpg: the image is truncated"),
        ("empty", "a.jpg: the image is empty"),
        ("text", "a.jpg: not an image"),
        ("json", "train.json: not readable as json"),
        ("mapping", "train.json: expected a list of records"),
        ("list", "record 0: expected a mapping, got int"),
        ("key", "record 0: 'center' is missing"),
        ("absent", "valid.json: there is no such file"),
        ("heads", "beside valid.json: expected 'headboxes_src' of shape (2, 2, 1), got (2, 2, 7)"),
        ("matlab", "gt_valid.mat: not readable as a MATLAB file"),
    ],
)
def test_files_that_cannot_be_right(people, monkeypatch, capsys, what, sentence):
    damage(people, what)
    with pytest.raises(SystemExit) as ended:
        prepare(people, monkeypatch)
    assert ended.value.code == 1
    message = capsys.readouterr().err.strip()
    assert sentence in message
    assert "\n" not in message
    assert not (people.parent / "out/people.h5").exists()


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"cache_size": 4}, "source_cache.cache_size: expected at least 16 px, got 4"),
        ({"cache_margin": -1}, "source_cache.cache_margin: expected 0 to 4, got -1"),
        ({"jpeg_quality": 0}, "source_cache.jpeg_quality: expected 1 to 100, got 0"),
        ({"layout": "lsp"}, "sources.people.layout: expected one of mpii, coco, h36m, h36m_challenge, got 'lsp'"),
        ({"train": ["train2017"]}, "MPII has no set 'train2017'"),
        ({"detections": "boxes.json"}, "detections: MPII's persons come with boxes"),
        ({"unreadable": "ignore"}, "source_cache.unreadable: expected one of refuse, skip, got 'ignore'"),
    ],
)
def test_params_that_cannot_be_right(people, monkeypatch, capsys, params, sentence):
    with pytest.raises(SystemExit):
        prepare(people, monkeypatch, **params)
    assert sentence in capsys.readouterr().err


def test_persons_of_unusable_images_are_left_out_where_that_is_asked_for(people, monkeypatch, capsys):
    damage(people, "truncated")
    put(people, "valid", [record("c.jpg"), record("nowhere.jpg")])
    (people / "annot/gt_valid.mat").unlink()
    samples = prepare(people, monkeypatch, unreadable="skip")
    assert samples.key.tolist() == ["b.jpg#0", "b.jpg#1", "c.jpg#0"]
    assert samples.image(2).shape == (68, 68, 3)
    said = capsys.readouterr().out
    assert "left out: " in said
    assert "a.jpg: the image is truncated" in said
    assert "nowhere.jpg: there is no such image" in said
    metrics = json.loads((people.parent / "out/people.json").read_text())
    assert (metrics["left_out"], metrics["absent_pictures"], metrics["train"], metrics["valid"]) == (2, 1, 2, 1)


def test_who_then_asks_to_leave_them_out_need_not_wait_again(people, monkeypatch):
    damage(people, "truncated")
    with pytest.raises(SystemExit):
        prepare(people, monkeypatch)
    monkeypatch.setattr(crops, "warp", None)  # nothing is cut any more
    assert prepare(people, monkeypatch, unreadable="skip").key.tolist() == ["b.jpg#0", "b.jpg#1", "c.jpg#0"]


def test_all_absent_pictures_are_counted_before_any_work(people, monkeypatch, capsys):
    for name in ("a.jpg", "c.jpg"):
        (people / "images" / name).unlink()
    with pytest.raises(SystemExit):
        prepare(people, monkeypatch)
    message = capsys.readouterr().err
    assert "2 images cannot be used (a.jpg: there is no such image; c.jpg: there is no such image)" in message
    assert "source_cache.unreadable: skip" in message


def test_a_zip_gives_the_same_bytes_as_the_folder(people, monkeypatch):
    prepare(people, monkeypatch)
    expected = (people.parent / "out/people.h5").read_bytes()
    with zipfile.ZipFile(people / "images.zip", "w") as archive:
        for path in sorted((people / "images").iterdir()):
            archive.write(path, f"images/{path.name}")
            path.unlink()
    (people / "images").rmdir()
    prepare(people, monkeypatch)
    assert (people.parent / "out/people.h5").read_bytes() == expected


KILLED = """
import os, signal, sys
from pipeline import cli, crops
from stages import prepare_source

kill_at, count, warp = int(sys.argv.pop(1)), 0, crops.warp

def warp_or_die(*arguments):
    global count
    count += 1
    if count == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return warp(*arguments)

crops.warp = warp_or_die
cli.run(prepare_source.main)
print("cut:", count)
"""


def test_a_killed_run_leaves_nothing_half_done_and_its_successor_cuts_the_rest(people, monkeypatch):
    put(people, "train", [record(("a.jpg", "b.jpg")[row % 2], scale=0.5 + row / 100) for row in range(40)])
    prepare(people, monkeypatch)
    outputs = people.parent / "out"
    expected = {path.name: path.read_bytes() for path in outputs.iterdir()}
    for path in outputs.iterdir():
        path.unlink()

    def run(kill_at: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", KILLED, str(kill_at), *flags(people)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "POSE_WORKERS": "1"}
        return subprocess.run(command, cwd=people.parent, env=environment, capture_output=True, text=True, check=False)

    assert run(30).returncode == -signal.SIGKILL
    assert list(outputs.iterdir()) == []
    done = run(0)
    assert done.returncode == 0, done.stderr
    assert 41 - 30 < int(done.stdout.split("cut:")[1]) < 41 - 15  # all but what the first one had handed on
    assert {path.name: path.read_bytes() for path in outputs.iterdir()} == expected


def test_other_images_under_the_same_names_are_not_taken_from_an_earlier_run(people, monkeypatch):
    damage(people, "truncated")
    whole = (people / "images/b.jpg").read_bytes()
    with pytest.raises(SystemExit):
        prepare(people, monkeypatch)
    assert list((people.parent / "data/scratch").glob("*/crops")) != []
    (people / "images/a.jpg").write_bytes(whole)
    samples = prepare(people, monkeypatch)
    np.testing.assert_array_equal(samples.image(0), samples.image(1))
