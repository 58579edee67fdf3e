"""Ten labelled persons in five grey pictures; the network's joints are put in its mouth, 4 px off in one wrist."""

import json

import numpy as np
import pytest
import torch

from pipeline import cli, params
from pipeline.files import pictures, samples
from pipeline.models import build
from pipeline.skeleton import get
from stages import evaluate_2d
from tests.pipeline_graph import ROOT

PEOPLE = 10


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSE_DEVICE", "cpu")

    def made(name, head):
        names, rng = get(name), np.random.default_rng(3)
        values = params.read(ROOT / "params.yaml")["network"]
        values |= {"input_size": 64, "width": 8, "deconv_channels": 8, "skeleton": name}
        network = params.build(build.Network, values, "network")
        torch.manual_seed(0)
        build.save(tmp_path / "model.pt", network, build.build(network).state_dict())
        joints = rng.uniform(8, 56, (PEOPLE, len(names), 2))
        samples.write(
            tmp_path / "people.h5",
            names,
            np.array([f"val2017/{row // 2:012d}.jpg#{row}" for row in range(PEOPLE)]),
            np.array(["valid"] * PEOPLE),
            joints,
            np.ones((PEOPLE, len(names)), dtype=bool),
            np.tile([-0.5, -0.5, 63.5, 63.5], (PEOPLE, 1)),
            np.full(PEOPLE, head),
            np.tile(np.eye(3)[:2], (PEOPLE, 1, 1)),
            (pictures.encode(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)) for _ in range(PEOPLE)),
        )
        found = joints.copy()
        found[0, names.index("left_wrist"), 0] += 4
        monkeypatch.setattr(evaluate_2d, "detect", lambda *_: (found, np.full(found.shape[:2], 0.9)))
        return names, joints

    return made


def run(tmp_path, *more):
    flags = ["--model", "model.pt", "--source", "people.h5", "--metrics", "found.json", *more]
    cli.run(
        evaluate_2d.main,
        evaluate_2d.Evaluate2D,
        name="evaluate_2d",
        argv=[*flags, "--params", str(ROOT / "params.yaml")],
    )
    return json.loads((tmp_path / "found.json").read_text())


def test_mpiis_table(world, tmp_path):
    world("mpii_16", 6.0)
    found = run(tmp_path)
    assert found["mpii_wrist"] == 95
    assert found["mpii_pckh_50"] == pytest.approx(100 * 139 / 140, abs=1e-4)
    assert "coco_AP" not in found


def test_cocos_ten_numbers(world, tmp_path):
    names, joints = world("coco_17", np.nan)
    people = [
        {
            "id": row + 1,
            "image_id": row // 2,
            "category_id": 1,
            "iscrowd": 0,
            "area": 64.0**2,
            "bbox": [0, 0, 64, 64],
            "num_keypoints": len(names),
            "keypoints": np.concatenate([joints[row], np.full((len(names), 1), 2)], axis=1).ravel().tolist(),
        }
        for row in range(PEOPLE)
    ]
    images = [{"id": number, "file_name": f"{number:012d}.jpg", "width": 64, "height": 64} for number in range(5)]
    content = {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}
    (tmp_path / "person_keypoints.json").write_text(json.dumps(content))
    found = run(tmp_path, "--annotations", "person_keypoints.json", "--results", "results.json")
    assert found["coco_AP50"] == pytest.approx(100)
    assert 95 < found["coco_AP"] <= 100
    assert len(json.loads((tmp_path / "results.json").read_text())) == PEOPLE


def test_what_cannot_be_scored_is_said(world, tmp_path, capsys):
    world("coco_17", np.nan)
    with pytest.raises(SystemExit):
        run(tmp_path)
    assert "give --annotations" in capsys.readouterr().err
    world("mpii_16", 6.0)
    with pytest.raises(SystemExit):
        run(tmp_path, "--annotations", "person_keypoints.json")
    assert "needs coco_17" in capsys.readouterr().err
