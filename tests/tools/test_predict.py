"""An untrained small network on three grey images."""

import json
import zipfile

import cv2
import numpy as np
import pytest
import torch

from pipeline import cli, params
from pipeline.models import build
from pipeline.models.checkpoints.zoo import ZOO, ZooEntry
from tests.pipeline_graph import ROOT
from tools import predict


@pytest.fixture(autouse=True)
def on_the_processor(monkeypatch):
    monkeypatch.setenv("POSE_DEVICE", "cpu")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = params.read(ROOT / "params.yaml")["network"] | {"input_size": 64, "width": 8, "deconv_channels": 8}
    network = params.build(build.Network, values, "network")
    torch.manual_seed(0)
    build.save(tmp_path / "model.pt", network, build.build(network).state_dict())
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for name in ("000000000785.png", "b.png", "c.png"):
        cv2.imwrite(str(tmp_path / "images" / name), rng.integers(0, 255, (90, 120, 3), dtype=np.uint8))
    return tmp_path


def run(folder, *more, images="images"):
    flags = ["--model", "model.pt", "--images", str(images), "--out", "keypoints.json", *more]
    cli.run(predict.main, argv=[*flags, "--params", str(ROOT / "params.yaml")])
    return json.loads((folder / "keypoints.json").read_text())


def test_every_image_has_one_person_when_no_boxes_are_given(folder):
    results = run(folder, "--table", "keypoints.csv", "--overlays", "overlays")
    assert [result["image_id"] for result in results] == [785, "b.png", "c.png"]
    assert all(len(result["keypoints"]) == 3 * 16 for result in results)
    lines = (folder / "keypoints.csv").read_text().splitlines()
    assert lines[0] == "image,person,joint,x,y,score"
    assert len(lines) == 1 + 3 * 16
    assert sorted(path.name for path in (folder / "overlays").iterdir()) == ["000000000785.jpg", "b.jpg", "c.jpg"]


def test_a_zip_gives_what_its_folder_gives(folder, capsys):
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for file in (folder / "images").iterdir():
            archive.write(file, f"session/{file.name}")
        archive.writestr("session/notes.txt", "hello")
    found = run(folder, "--overlays", "overlays", images="images.zip")
    plain = run(folder)
    assert [each["image_id"] for each in found] == [785, "session/b.png", "session/c.png"]
    assert [each["keypoints"] for each in found] == [each["keypoints"] for each in plain]
    names = ["session_000000000785.jpg", "session_b.jpg", "session_c.jpg"]
    assert sorted(path.name for path in (folder / "overlays").iterdir()) == names
    (folder / "broken.zip").write_text("hello")
    with pytest.raises(SystemExit):
        run(folder, images="broken.zip")
    assert "broken.zip: not readable as a zip" in capsys.readouterr().err


def test_a_public_checkpoint_is_identified_by_its_path_or_by_zoo(folder, monkeypatch, capsys):
    values = params.read(ROOT / "params.yaml")["network"]
    values |= {"input_size": 64, "input_height": 96, "width": 8, "deconv_channels": 8, "skeleton": "coco_17"}
    network = params.build(build.Network, values | {"preprocessing": "imagenet_rgb"}, "network")
    monkeypatch.setitem(ZOO, "pose_coco/tiny.pth", ZooEntry(path="pose_coco/tiny.pth", network=network))
    torch.manual_seed(0)
    (folder / "pose_coco").mkdir()
    weights = {f"module.{key}": value for key, value in build.build(network).state_dict().items()}
    for name in ("pose_coco/tiny.pth", "mine.pth"):
        torch.save(weights, folder / name)
    first = run(folder, "--model", "pose_coco/tiny.pth")
    assert len(first[0]["keypoints"]) == 3 * 17
    np.testing.assert_allclose(first[0]["bbox"], [0, -45, 120, 180])  # 120 x 90 px, grown to 2:3
    assert run(folder, "--model", "mine.pth", "--zoo", "pose_coco/tiny.pth") == first
    for flags, sentence in (
        (["--model", "mine.pth"], "say with --zoo which of these the file is"),
        (["--model", "mine.pth", "--zoo", "pose_coco/pose_hrnet_w32_256x192.pth"], "weights of PoseResNet"),
        (["--model", "mine.pth", "--zoo", "imagenet/resnet50-19c8e357.pth"], "can only start a training"),
        (["--zoo", "pose_coco/tiny.pth"], "says itself what it is"),
        (["--model", "nothing.pth"], "there is no such file"),
    ):
        with pytest.raises(SystemExit):
            run(folder, *flags)
        assert sentence in capsys.readouterr().err


def test_boxes_are_used_and_weak_ones_are_left_out(folder):
    entries = [
        {"image_id": 785, "bbox": [10, 10, 30, 40], "score": 0.9},
        {"image_id": 785, "bbox": [60, 20, 40, 50], "score": 0.8},
        {"image_id": "b.png", "bbox": [5, 5, 50, 50], "score": 0.1},
    ]
    (folder / "boxes.json").write_text(json.dumps(entries))
    results = run(folder, "--boxes", "boxes.json", "--table", "keypoints.csv")
    assert [result["image_id"] for result in results] == [785, 785]
    margin = 1 + params.read(ROOT / "params.yaml")["predict"]["box_margin"]
    np.testing.assert_allclose(results[0]["bbox"], [25 - 20 * margin, 30 - 20 * margin, 40 * margin, 40 * margin])
    people = {line.split(",")[1] for line in (folder / "keypoints.csv").read_text().splitlines()[1:]}
    assert people == {"0", "1"}
    for result in results:
        x, y, width, _ = result["bbox"]
        keypoints = np.array(result["keypoints"]).reshape(-1, 3)
        assert ((keypoints[:, 0] > x - 2) & (keypoints[:, 0] < x + width + 2) & (keypoints[:, 1] > y - 2)).all()


def test_a_video_is_read_frame_by_frame(folder):
    writer = cv2.VideoWriter(str(folder / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(4):
        writer.write(np.full((48, 64, 3), 90, dtype=np.uint8))
    writer.release()
    assert [result["image_id"] for result in run(folder, images="clip.avi")] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "not readable as json"),
        ("{}", "expected a list"),
        ('[{"image_id": 1}]', "entry 0 has no box"),
        ('[{"image_id": 1, "bbox": [1, 2, 0, 4], "score": 1}]', "without area"),
        ('[{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 1}]', "has no box for any image"),
    ],
)
def test_bad_boxes_get_one_sentence_and_no_output(folder, capsys, text, sentence):
    (folder / "boxes.json").write_text(text)
    with pytest.raises(SystemExit):
        run(folder, "--boxes", "boxes.json")
    assert sentence in capsys.readouterr().err
    assert not (folder / "keypoints.json").exists()
