"""A labelled set of several calibrated cameras also trains depth and cross-view fusion."""

import json
import re

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from pipeline import cli, skeleton
from pipeline.datasets.h36m import challenge
from pipeline.files.samples import Samples
from pipeline.models import build
from pipeline.training.validation import InputFormat, predict_joints
from stages import prepare_source, pretrain
from tests.pipeline_graph import read
from tests.training.strengths import NONE
from tests.worlds import h36m_world
from tools import evaluate_2d

pytestmark = pytest.mark.slow  # networks are trained

CHOICE = {"train_subjects": [1], "test_subjects": [9], "train_every": 2, "test_every": 5, "damaged": "included"}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A tiny Human3.6M as a labelled source, and a network of 64 px that learns all its joints in still images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSE_DEVICE", "cpu")
    folder = tmp_path / "h36m"
    made = h36m_world.world()
    h36m_world.write_records(folder, made)
    h36m_world.write_images(folder, made)
    values = read("params.yaml")
    values["sources"] = {"h36m": {"path": str(folder), "layout": "h36m", "h36m": CHOICE}}
    values["source_cache"]["cache_size"] = 96
    values["mix"]["weights"] = {"h36m": 1.0}
    values["runtime"].update(threads=1, precision="float32")
    values["network"].update(input_size=64, width=8, deconv_channels=8, skeleton="h36m_18")
    values["pretrain"].update(
        batch_size=8, augment={**values["pretrain"]["augment"], "rotation_std_deg": 5.0, "shift": 0.0}
    )
    values["pretrain"]["schedule"].update(steps=60, learning_rate=0.005)
    values["evaluate_2d"]["flip_test"] = False
    YAML().dump(values, tmp_path / "params.yaml")
    flags = {"data": folder, "name": "h36m", "out": "h36m.h5", "metrics": "source.json", "params": "params.yaml"}
    run(prepare_source.main, flags)
    return tmp_path


def run(main, flags):
    cli.run(main, argv=[str(word) for key, value in flags.items() for word in (f"--{key}", value)])


def change(root, **sections):
    values = YAML().load(root / "params.yaml")
    for name, section in sections.items():
        for key, value in section.items():
            values[name][key] = {**values[name][key], **value} if isinstance(value, dict) else value
    YAML().dump(values, root / "params.yaml")


def learn(out="model.pt"):
    run(pretrain.main, {"source": "h36m.h5", "out": out, "metrics": "train.json", "curve": "training.csv"})


def measure(root, model="model.pt"):
    flags = {"model": model, "source": "h36m.h5", "metrics": "depth.json"}
    cli.run(evaluate_2d.main, argv=[w for k, v in flags.items() for w in (f"--{k}", v)], name="evaluate_2d")
    return json.loads((root / "depth.json").read_text())


def test_a_keypoint_with_its_depth_lifts_to_its_joint(root):
    samples = Samples.read(root / "h36m.h5")
    space, names = samples.space, samples.skeleton
    assert space is not None and len(space.joints) == len(samples)
    depth = space.depth_px(names.root)
    assert np.abs(depth[:, names.root]).max() == 0
    np.testing.assert_allclose(space.lift(samples.keypoints, depth, names.root), space.joints, atol=0.05)  # mm
    views = sorted((int(moment), int(view)) for moment, view in zip(space.frame_group, space.view, strict=True))
    assert views == [(moment, view) for moment in sorted(set(space.frame_group.tolist())) for view in range(4)]


def test_the_challenges_poses_are_seen_from_far_away(root):
    """x, y and depth of a pose have one scale in its image; the lifted pose is the original one, rotated."""
    folder, made = root / "challenge", h36m_world.world()
    h36m_world.write_challenge(folder, made)
    h36m_world.write_challenge_detections(folder, made)
    records = challenge.read(folder)
    poses = challenge.read_poses(folder).joints[: len(records)]
    space, pelvis = records.space, records.skeleton.root
    found = space.lift(records.keypoints, space.depth_px(pelvis), pelvis)
    np.testing.assert_allclose(found, space.joints, atol=0.5)  # mm
    off = found - found[:, [pelvis]]
    poses = poses - poses[:, [pelvis]]
    np.testing.assert_allclose(off[..., 2], poses[..., 2], atol=0.5)
    np.testing.assert_allclose(np.linalg.norm(off, axis=-1), np.linalg.norm(poses, axis=-1), atol=0.5)
    beside = np.linalg.norm(records.keypoints - records.keypoints[:, [pelvis]], axis=-1)  # px
    scale = (beside / np.maximum(np.linalg.norm(poses[..., :2], axis=-1), 1))[:, 3]
    np.testing.assert_allclose(space.depth_px(pelvis), poses[..., 2] * scale[:, None], atol=0.05)


@pytest.mark.parametrize("relative", [False, True])
def test_a_network_that_is_right_has_no_error(root, relative):
    """The centres of the targets, returned as a network's coordinates, give the measured joints."""
    samples = Samples.read(root / "h36m.h5")
    rows = np.arange(len(samples))
    from pipeline.training.batches import examples
    from pipeline.training.pools import pool_of_samples

    names = skeleton.get("h36m_18")
    places = {}
    for split in ("train", "valid"):
        own = np.flatnonzero(samples.split == split)
        pool = pool_of_samples(samples, split, names)
        batch = examples(pool, np.arange(len(own)), size=(64, 64), sigma=1.5, augment=NONE, seed=(0,))
        coordinates = np.concatenate([batch.keypoints, batch.depth[..., None]], axis=-1)
        places |= dict(zip(own.tolist(), coordinates, strict=True))
    right = np.stack([places[row] for row in rows.tolist()])
    if relative:
        right[..., :2] -= right[:, names.index("pelvis"), None, :2]
    at = iter(range(0, len(rows), 64))

    def network(images):
        start = next(at)
        return right[start : start + len(images)]

    found = predict_joints(network, samples, rows, InputFormat(size=(64, 64)), skeleton=names, relative=relative)
    np.testing.assert_allclose(found, samples.space.joints, atol=0.5)  # mm
    measured, _ = evaluate_2d._depth_measures(found, samples.space.joints, samples.skeleton)
    assert max(value for name, value in measured.items() if not name.endswith("challenge")) < 0.5
    limbs = np.array(samples.skeleton.limbs).T
    total = np.linalg.norm(np.subtract(*(samples.space.joints[:, ends] for ends in limbs)), axis=-1).sum(-1)[:, None]
    reach = np.linalg.norm(samples.space.joints - samples.space.joints[:, [0]], axis=-1)
    assert measured["mpjpe_one_picture_challenge"] == pytest.approx((reach * abs(4502.881 / total - 1)).mean(), abs=0.5)


@pytest.mark.parametrize("name", ["integral", "direct", "kinematic"])
def test_depth_is_learned_and_measured(root, name, capsys):
    change(root, network={"name": name, "depth_bins": 16}, training={"loss": {"name": "integral_l1"}})
    change(root, pretrain={"schedule": {"steps": 1, "learning_rate": 1e-6}})
    learn("chance.pt")
    change(root, pretrain={"schedule": {"steps": 150, "learning_rate": 0.003}})
    learn()
    change(root, evaluate_2d={"split": "train"})
    before, after = measure(root, "chance.pt"), measure(root)
    # the kinematic chain begins as a good shape of a wrong size, which an alignment forgives
    for key in ("root_counted", "root_left_out", *(["pa"] if name != "kinematic" else [])):
        assert after[f"mpjpe_one_picture_{key}"] < 0.75 * before[f"mpjpe_one_picture_{key}"], (before, after)
    counted, left_out = (after[f"mpjpe_one_picture_{key}"] for key in ("root_counted", "root_left_out"))
    assert counted == pytest.approx(left_out * 16 / 17)
    assert "| MPJPE | without root | rigid | PA-MPJPE | challenge |" in re.sub(" +", " ", capsys.readouterr().out)
    assert ("mpii_pckh_50" in after) == (name != "kinematic")
    change(root, evaluate_2d={"flip_test": True})
    assert measure(root)["mpjpe_one_picture_root_counted"] < before["mpjpe_one_picture_root_counted"]


def test_fusion_is_learned_from_labelled_frame_groups(root):
    change(root, network={"fusion_views": 4}, pretrain={"fuse": True, "batch_size": 8, "schedule": {"steps": 6}})
    learn()
    network, model = build.load(root / "model.pt")
    assert network.fusion_views == 4
    change(root, pretrain={"schedule": {"steps": 1, "learning_rate": 1e-9}})
    learn("first.pt")
    start = build.load(root / "first.pt")[1]
    assert not torch.equal(model.aggre_layer.aggre[5].weight, start.aggre_layer.aggre[5].weight)
    assert not torch.equal(model.state_dict()["resnet.conv1.weight"], start.state_dict()["resnet.conv1.weight"])


@pytest.mark.parametrize(
    ("views", "sentence"),
    [(0, "network.fusion_views is 0"), (3, "network.fusion_views is 3, and rig 1 of 'h36m' has 4 of 4 views")],
)
def test_what_cannot_be_fused_is_one_sentence(root, capsys, views, sentence):
    change(root, network={"fusion_views": views}, pretrain={"fuse": True})
    with pytest.raises(SystemExit, match="1"):
        learn()
    assert sentence in capsys.readouterr().err


def test_fusion_needs_a_set_of_several_cameras(root, capsys):
    import h5py

    with h5py.File(root / "h36m.h5", "a") as file:
        del file["space"]
    change(root, network={"fusion_views": 4}, pretrain={"fuse": True})
    with pytest.raises(SystemExit, match="1"):
        learn()
    assert "expected one labelled set of several cameras" in capsys.readouterr().err
