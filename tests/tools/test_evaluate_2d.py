"""Ten labelled persons in five grey images; the network is replaced by the ground truth, with an error of 4 px in one wrist."""

import json

import cv2
import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from pipeline import cli, params
from pipeline.files import images, samples
from pipeline.models import build
from pipeline.skeleton import get
from pipeline.training import validation
from tests.pipeline_graph import ROOT
from tools import evaluate_2d

PEOPLE = 10


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSE_DEVICE", "cpu")

    inputs: dict[str, np.ndarray] = {}

    def made(name, head):
        skeleton, rng = get(name), np.random.default_rng(3)
        values = params.read(ROOT / "params.yaml")["network"]
        values |= {"input_size": 64, "width": 8, "deconv_channels": 8, "skeleton": name}
        network = params.build(build.Network, values, "network")
        torch.manual_seed(0)
        build.save(tmp_path / "model.pt", network, build.build(network).state_dict())
        keypoints = rng.uniform(8, 56, (PEOPLE, len(skeleton), 2))
        samples.write(
            tmp_path / "people.h5",
            skeleton=skeleton,
            key=np.array([f"val2017/{row // 2:012d}.jpg#{row}" for row in range(PEOPLE)]),
            split=np.array(["valid"] * PEOPLE),
            keypoints=keypoints,
            visible=np.ones((PEOPLE, len(skeleton)), dtype=bool),
            box=np.tile([-0.5, -0.5, 63.5, 63.5], (PEOPLE, 1)),
            head=np.full(PEOPLE, head),
            crop_from_image=np.tile(np.eye(3)[:2], (PEOPLE, 1, 1)),
            jpegs=(images.encode(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)) for _ in range(PEOPLE)),
        )
        predicted = keypoints.copy()
        predicted[0, skeleton.index("left_wrist"), 0] += 4

        def predict_keypoints(predict, samples, rows, input_format, *, decode, hide):
            if hide is not None:
                inputs["before"] = samples.image(0)
                inputs["after"] = hide(inputs["before"], samples.keypoints[0])
            return predicted, np.full(predicted.shape[:2], 0.9)

        monkeypatch.setattr(evaluate_2d, "predict_keypoints", predict_keypoints)
        return skeleton, keypoints, inputs

    return made


def run(tmp_path, *more, **changes):
    flags = ["--model", "model.pt", "--source", "people.h5", "--metrics", "metrics.json", *more]
    values = params.read(ROOT / "params.yaml")
    values["evaluate_2d"].update(changes)
    YAML().dump(values, tmp_path / "params.yaml")
    cli.run(
        evaluate_2d.main,
        evaluate_2d.Evaluate2D,
        name="evaluate_2d",
        argv=flags,
    )
    return json.loads((tmp_path / "metrics.json").read_text())


def test_a_joint_is_hidden_and_each_joint_has_its_measure(world, tmp_path, capsys):
    skeleton, keypoints, inputs = world("mpii_16", 6.0)
    occlusion = {"how": "cutout", "what": "left_wrist"}
    values = run(tmp_path, by_joint=True, occlusion=occlusion)
    assert values["mpii_pckh_50_left_wrist"] == 90
    assert values["mpii_pckh_50_right_knee"] == 100
    x, y = keypoints[0, skeleton.index("left_wrist")].astype(int)
    changed = (inputs["before"] != inputs["after"]).any(-1)
    assert changed[y, x] and not inputs["after"][changed].any()
    assert 90 < changed.sum() < 130  # a disc of 6 px, maybe cut at the border
    assert "cutout of every person's left_wrist" in capsys.readouterr().out
    for wrong, sentence in (
        ({"how": "blur", "what": "tail"}, "has no 'tail'"),
        ({"how": "blur", "what": None}, "expected both"),
    ):
        with pytest.raises(SystemExit):
            run(tmp_path, occlusion=wrong)
        assert sentence in capsys.readouterr().err


def test_mpiis_table(world, tmp_path, capsys):
    world("mpii_16", 6.0)
    values = run(tmp_path)
    assert values["mpii_wrist"] == 95
    titles = capsys.readouterr().out.splitlines()[1].replace(" ", "")
    assert titles == "|Head|Shoulder|Elbow|Wrist|Hip|Knee|Ankle|Mean|Mean@0.1|"
    assert values["mpii_pckh_50"] == pytest.approx(100 * 139 / 140, abs=1e-4)
    assert values["mpii_pckh_50_16j"] == pytest.approx(100 * 159 / 160, abs=1e-4)  # pelvis and thorax count
    assert values["mpii_pckh_50_left_wrist"] == 90
    assert "coco_AP" not in values


def test_joints_that_are_not_mpiis_have_one_mean(world, tmp_path, capsys):
    world("coco_17", 6.0)
    assert run(tmp_path)["mpii_pckh_50"] == pytest.approx(100 * 169 / 170, abs=1e-4)
    assert "| PCKh@0.5 |\n| -------- |\n|   99.412 |" in capsys.readouterr().out


def test_cocos_ten_numbers(world, tmp_path):
    skeleton, keypoints, _ = world("coco_17", np.nan)
    people = [
        {
            "id": row + 1,
            "image_id": row // 2,
            "category_id": 1,
            "iscrowd": 0,
            "area": 64.0**2,
            "bbox": [0, 0, 64, 64],
            "num_keypoints": len(skeleton),
            "keypoints": np.concatenate([keypoints[row], np.full((len(skeleton), 1), 2)], axis=1).ravel().tolist(),
        }
        for row in range(PEOPLE)
    ]
    images = [{"id": number, "file_name": f"{number:012d}.jpg", "width": 64, "height": 64} for number in range(5)]
    content = {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}
    (tmp_path / "person_keypoints.json").write_text(json.dumps(content))
    values = run(tmp_path, "--annotations", "person_keypoints.json", "--results", "results.json")
    assert values["coco_AP50"] == pytest.approx(100)
    assert 95 < values["coco_AP"] <= 100
    alone = run(tmp_path, "--annotations", "person_keypoints.json", by_joint=True)
    assert alone["coco_AP_nose"] == pytest.approx(100)
    assert alone["coco_AP_left_wrist"] < 100
    assert list(run(tmp_path, "--results", "only.json")) == ["persons"]
    assert (tmp_path / "only.json").read_bytes() == (tmp_path / "results.json").read_bytes()
    assert len(json.loads((tmp_path / "results.json").read_text())) == PEOPLE


def test_cocos_scores_are_raw_peaks_and_decide_who_stays(world, tmp_path, monkeypatch):
    """In each image two persons have equal keypoints: the one stays whose mean raw peak, of those above 0.2, is higher."""
    world("coco_17", np.nan)
    heights = np.full((PEOPLE, 17), 1.25, dtype=np.float32)
    heights[0::2, :9], heights[0::2, 9:] = (
        1.5,
        0.125,
    )  # 1.5; cut at 1 both persons would score 1, and the later one stay

    def predict(net, images, device, flipped, shift):
        maps = np.zeros((len(images), 17, 16, 16), dtype=np.float32)
        maps[:, :, 8, 8] = heights[: len(images)]
        return maps

    monkeypatch.setattr(evaluate_2d, "predict_keypoints", validation.predict_keypoints)
    monkeypatch.setattr(evaluate_2d, "predict", predict)
    run(tmp_path, "--results", "results.json")
    results = json.loads((tmp_path / "results.json").read_text())
    assert [each["image_id"] for each in results] == [0, 1, 2, 3, 4]
    assert [each["score"] for each in results] == [1.5] * 5
    assert results[0]["keypoints"][2::3] == [1.5] * 9 + [0.125] * 8


def test_what_cannot_be_scored_gets_one_sentence(world, tmp_path, capsys):
    world("coco_17", np.nan)
    with pytest.raises(SystemExit):
        run(tmp_path)
    assert "give --annotations" in capsys.readouterr().err
    world("mpii_16", 6.0)
    with pytest.raises(SystemExit):
        run(tmp_path, "--annotations", "person_keypoints.json")
    assert "needs coco_17" in capsys.readouterr().err


def test_predictions_are_drawn_right_in_green_and_wrong_in_blue(world, tmp_path, capsys):
    skeleton, keypoints, _ = world("mpii_16", 6.0)  # right within 3 px
    run(tmp_path, "--drawings", "drawn")
    assert "10 persons drawn" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == [f"{n:05d}.jpg" for n in range(PEOPLE)]
    wrist = skeleton.index("left_wrist")
    shift = np.where(np.arange(len(skeleton)) == wrist, 4, 0)
    plain, drawn = (cv2.imread(str(tmp_path / "drawn" / f"{n:05d}.jpg")).astype(int) for n in (1, 0))

    def channel(image, point):
        x, y = np.round(point).astype(int)
        return int(image[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).mean(axis=0).argmax())

    far = [joint for joint in range(len(skeleton)) if nearest(keypoints[0], joint) > 9]
    assert len(far) >= 2
    found = {joint: channel(drawn, keypoints[0, joint] + [shift[joint], 0]) for joint in {*far, wrist}}
    assert found.pop(wrist) == 0  # blue
    assert set(found.values()) <= {1}  # green
    assert channel(plain, keypoints[1, wrist]) == 1

    (tmp_path / "drawn/notes.txt").write_text("mine")
    with pytest.raises(SystemExit):
        run(tmp_path, "--drawings", "drawn")
    assert "holds other files" in capsys.readouterr().err
    assert (tmp_path / "drawn/notes.txt").read_text() == "mine"


def nearest(keypoints, joint):
    """Distance of a joint's nearest neighbour, px."""
    return np.delete(np.linalg.norm(keypoints - keypoints[joint], axis=-1), joint).min()
