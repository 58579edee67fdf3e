"""Check data through its own command line: facts are printed, what is wrong is a problem and exit status 1."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.skeleton import get
from tests.worlds import raw_world
from tests.worlds.raw_world import Raw

RECORDING = Path(__file__).parents[2] / "../shared/data/recording"
COCO = Path(__file__).parents[2] / "../shared/data/coco"


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run the stage: its exit status and what it printed."""

    def run(**flags: object) -> tuple[int, str]:
        detections_format = flags.pop("detections_format", "none")
        text = raw_world.PARAMS.replace("detections_format: none", f"detections_format: {detections_format}")
        text += f"network:\n  fusion_views: {flags.pop('fusion_views', 0)}\n"
        (tmp_path / "params.yaml").write_text(text)
        words = [str(word) for key, value in flags.items() for word in (f"--{key}", value)]
        monkeypatch.setattr(sys, "argv", ["check_data", *words, "--params", str(tmp_path / "params.yaml")])
        try:
            runpy.run_module("tools.check_data", run_name="__main__")
            code = 0
        except SystemExit as ended:
            code = int(str(ended.code))
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    return raw_world.write(tmp_path, frames=12)


def rig_flags(raw: Raw) -> dict[str, object]:
    return {"target": raw.views, "calibration": raw.calibration, "detections": raw.detections}


def test_a_good_rig_is_described_and_shown(raw, check):
    sheet = raw.root / "sheet.png"
    code, output = check(**rig_flags(raw), sheet=sheet, detections_format="openpose_body_25b")
    assert code == 0, output
    assert "taken to be in mm" in output
    assert "take: 12 frame groups, 0 to 11, in 4 views" in output
    assert "48 of 48 images were decoded" in output
    assert "the views are in step" in output
    assert "no problem was found" in output
    image = cv2.imread(str(sheet))
    assert image.shape == (3 * 220, 4 * 220, 3)  # px: the first, middle and last frame group in four views
    assert image.std() > 10  # grey values


@pytest.mark.parametrize(("views", "code"), [(4, 0), (3, 1)])
def test_fusion_of_another_number_of_views_than_the_rig_has(raw, check, views, code):
    found, output = check(**rig_flags(raw), fusion_views=views)
    assert found == code
    assert ("network.fusion_views: the network fuses 3 views, and take has 4" in output) == (views == 3)


def test_a_view_that_is_late(raw, check):
    folder = raw.detections / "cam03_json"
    files = sorted(folder.iterdir())
    texts = [path.read_text() for path in files]
    for path, text in zip(files, texts[:2] + texts, strict=False):
        path.write_text(text)
    code, output = check(**rig_flags(raw), detections_format="openpose_body_25b")
    assert code == 1
    assert "PROBLEM: take: Cam_03 seems to be 2 frames early" in output


def test_swapped_colours(raw, check):
    for path in raw.views.rglob("*.png"):
        image = cv2.imread(str(path))
        cv2.imwrite(str(path), image[..., ::-1])
    code, output = check(**rig_flags(raw), detections_format="openpose_body_25b")
    assert code == 1
    assert "red and blue seem to be swapped: 0% of" in output


def test_damaged_images_of_a_view(raw, check):
    path = raw.views / "cam02/0003.png"
    path.write_bytes(path.read_bytes()[:-300])
    code, output = check(**rig_flags(raw))
    assert code == 1
    assert "cam02/0003.png: the image is truncated" in output


def test_a_calibration_that_is_none(raw, check):
    raw.calibration.write_text("matrix")
    code, output = check(**rig_flags(raw))
    assert code == 1
    assert "not readable as TOML" in output
    assert "Traceback" not in output


def mpii(folder: Path, persons: int) -> None:
    (folder / "annot").mkdir(parents=True)
    (folder / "images").mkdir()
    rng = np.random.default_rng(1)
    for split in ("train", "valid"):
        records = []
        for number in range(persons):
            name = f"{split}{number}.jpg"
            body = raw_world.people(get("body_25b").joint_names, 1)[0]
            points = body[:, [0, 2]] * [0.1, -0.1] + [100, 190] + rng.uniform(-3, 3, 2)
            cv2.imwrite(str(folder / "images" / name), raw_world.draw((200, 200), [points]))
            joints = raw_world.people(get("mpii_16").joint_names, 1)[0][:, [0, 2]] * [0.1, -0.1] + [100, 190] + 1
            records.append(
                {"image": name, "center": [100, 100], "scale": 0.9, "joints": joints.tolist(), "joints_vis": [1] * 16}
            )
        (folder / f"annot/{split}.json").write_text(json.dumps(records))


def test_a_labelled_set_beside_the_published_one(tmp_path, check):
    mpii(tmp_path / "people", 20)
    code, output = check(source=tmp_path / "people", sheet=tmp_path / "sheet.png")
    assert code == 0, output
    assert "train: 20 persons in 20 images; the published split has 22,246" in output
    assert "valid: 20 persons in 20 images; the published split has 2,958" in output
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (660, 1320, 3)  # px: three rows of six


def test_images_of_a_labelled_set_that_are_missing_or_damaged(tmp_path, check):
    mpii(tmp_path / "people", 4)
    (tmp_path / "people/images/train1.jpg").unlink()
    path = tmp_path / "people/images/valid2.jpg"
    path.write_bytes(path.read_bytes()[:200])
    code, output = check(source=tmp_path / "people")
    assert code == 1
    assert "PROBLEM: train: 1 of its images are absent" in output
    assert "valid2.jpg: the image is truncated" in output


def test_wrong_flags(tmp_path, check):
    mpii(tmp_path / "people", 2)
    assert "expected a number or all, got 'some'" in check(source=tmp_path / "people", images="some")[1]
    assert "expected --target with --calibration" in check(target=tmp_path)[1]
    assert "expected the folder of a labelled set" in check(source=tmp_path / "nothing")[1]


@pytest.mark.skipif(not COCO.is_dir(), reason="needs ../shared/data/coco, COCO's own images")
def test_coco_s_own_images(tmp_path, check):
    for split in ("train2017", "val2017"):
        (tmp_path / "coco/annotations").mkdir(parents=True, exist_ok=True)
        shutil.copy(COCO / "person_keypoints_cc.json", tmp_path / f"coco/annotations/person_keypoints_{split}.json")
        shutil.copytree(COCO / "images", tmp_path / "coco/images" / split)
    code, output = check(source=tmp_path / "coco", sheet=tmp_path / "sheet.png")
    assert code == 0, output
    assert "44 persons in 17 images; the published split has 149,813" in output
    assert "redder than blue, as skin is" in output


@pytest.mark.skipif(not RECORDING.is_dir(), reason="needs ../shared/data/recording, a real four-camera recording")
def test_the_real_recording(tmp_path, check):
    code, output = check(
        target=RECORDING / "balancing/videos",
        calibration=RECORDING / "Calib.toml",
        detections=RECORDING / "balancing/openpose",
        detections_format="openpose_body_25b",
        sheet=tmp_path / "sheet.png",
    )
    assert code == 0, output
    assert "balancing: 100 frame groups, 0 to 99, in 4 views" in output
    assert "the views are in step; keypoints are 9." in output
    assert "as skin is" in output
