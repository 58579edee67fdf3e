"""pretrain, export_heatmaps and retrain through their own command lines, on a world that trains in seconds."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from pipeline import cli, crops
from pipeline.files import images, samples, scratch
from pipeline.files.detections import Detections
from pipeline.files.frames import Frames
from pipeline.files.heatmaps import Heatmaps
from pipeline.files.labels import Labels
from pipeline.files.poses import Poses
from pipeline.models import build
from pipeline.skeleton import get
from stages import export_heatmaps, pretrain, retrain, rpsm, triangulate
from tests.pipeline_graph import ROOT, read
from tests.worlds import tiny_world

pytestmark = pytest.mark.slow  # networks are trained

ROWS = 10


@pytest.fixture(autouse=True)
def on_the_processor(monkeypatch):
    monkeypatch.setenv("POSE_DEVICE", "cpu")


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Twelve frames of four cameras with pseudo labels, ten labelled images, a network of 64 px, eight steps."""
    monkeypatch.chdir(tmp_path)
    made = tiny_world.build(tmp_path, rounds=1, train=3, test=2)
    rng = np.random.default_rng(3)
    skeleton = get("mpii_16")
    samples.write(
        tmp_path / "source.h5",
        skeleton=skeleton,
        key=np.array([f"picture_{row}" for row in range(ROWS)]),
        split=np.array(["train"] * (ROWS - 2) + ["valid"] * 2),
        keypoints=rng.uniform(8, 56, (ROWS, len(skeleton), 2)),
        visible=np.ones((ROWS, len(skeleton)), dtype=bool),
        box=np.tile([-0.5, -0.5, 63.5, 63.5], (ROWS, 1)),
        head=np.full(ROWS, 10.0),
        crop_from_image=np.tile(np.eye(3)[:2], (ROWS, 1, 1)),
        jpegs=(images.encode(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)) for _ in range(ROWS)),
    )
    change(made, lambda values: None)
    return made


def change(world, edit):
    values = read("params.yaml")
    values["runtime"].update(threads=1, precision="float32")
    values["network"].update(input_size=64, width=8, deconv_channels=8)
    for section in ("pretrain", "retrain"):
        values[section]["batch_size"] = 4
        values[section]["schedule"]["steps"] = 8
    edit(values)
    YAML().dump(values, world.root / "params.yaml")


def run_pretrain(world, out="model.pt"):
    flags = ["--source", "source.h5", "--out", out, "--metrics", "train.json", "--curve", "training.csv"]
    cli.run(pretrain.main, argv=flags)
    return world.root / out


def run_export(world, model, out="heatmaps.h5", *more):
    cli.run(export_heatmaps.main, argv=["--model", str(model), "--frames", str(world.frames), "--out", out, *more])
    return Heatmaps.read(world.root / out)


def run_retrain(world, model, out="student.pt"):
    labels = str(world.data("r1") / "labels.h5")
    flags = ["--init", str(model), "--source", "source.h5", "--frames", str(world.frames), "--labels", labels]
    flags += ["--cameras", str(world.rig)]
    cli.run(retrain.main, argv=[*flags, "--out", out, "--metrics", "retrain.json", "--curve", "retrain.csv"])
    return world.root / out


def test_the_same_inputs_give_the_same_bytes_and_another_seed_others(world):
    first = run_pretrain(world, "a.pt").read_bytes()
    assert run_pretrain(world, "b.pt").read_bytes() == first
    change(world, lambda values: values["runtime"].update(seed=99))
    assert run_pretrain(world, "c.pt").read_bytes() != first
    assert list((world.root / "data" / "scratch").glob("*")) == []


def test_every_frame_and_view_gets_maps_and_peaks_that_lie_in_its_box(world):
    found = run_export(world, run_pretrain(world))
    frames = Frames.read(world.frames)
    found.keys.require_same(frames.keys, "heatmaps")
    assert found.views == frames.views
    assert found.map_size == (16, 16)
    seen = np.isfinite(found.keypoints).all(-1)
    margin = 2 * (frames.box[..., 2] - frames.box[..., 0])[..., None, None] / 16  # two map px
    inside = (found.keypoints > frames.box[:, :, None, :2] - margin) & (
        found.keypoints < frames.box[:, :, None, 2:] + margin
    )
    assert inside[seen].all()
    assert ((found.scores > 0) == seen).all()


def test_the_scores_of_a_heatmap_file_are_shares_however_high_the_peaks(world, monkeypatch):
    model = run_pretrain(world)

    def predict(net, images, device, flipped):
        maps = np.zeros((len(images), 16, 16, 16), dtype=np.float32)
        maps[:, :8, 5, 5], maps[:, 8:, 5, 5] = 1.5, 0.5
        return maps

    monkeypatch.setattr(export_heatmaps, "predict", predict)
    found = run_export(world, model)
    np.testing.assert_array_equal(np.unique(found.scores[:, :, :8]), [1])
    np.testing.assert_array_equal(np.unique(found.scores[:, :, 8:]), [0.5])
    assert found.peak_patches.max() == 1.5


def test_the_flip_test_changes_maps_but_not_their_affines(world):
    model = run_pretrain(world)
    plain = run_export(world, model, "plain.h5")
    change(world, lambda values: values["export"].update(flip_test=True))
    flipped = run_export(world, model, "flipped.h5")
    assert not np.array_equal(plain.peak_patches, flipped.peak_patches)
    np.testing.assert_array_equal(plain.image_from_map, flipped.image_from_map)


def test_a_rounds_boxes_move_the_input_of_the_network(world):
    model = run_pretrain(world)
    path = world.data("r1") / "labels.h5"
    labels = Labels.read(path)
    moved = world.root / "moved.h5"
    box = labels.person_box + np.array([5.0, 0, 5, 0])
    dataclasses.replace(labels, person_box=box).write(moved)
    one, other = (run_export(world, model, f"{p.stem}.h5", "--labels", str(p)) for p in (path, moved))
    np.testing.assert_allclose(other.image_from_map[..., 0, 2] - one.image_from_map[..., 0, 2], 5.0, atol=1e-3)  # px


def test_foreign_detections_replace_the_first_teacher_by_name(world):
    frames = Frames.read(world.frames)
    foreign = get("body_25b")
    points = np.full((len(frames), 4, len(foreign), 2), np.nan)
    wrist = foreign.index("left_wrist")
    points[:, :, wrist] = (frames.box[..., :2] + frames.box[..., 2:]) / 2
    scores = np.where(np.isfinite(points).all(-1), 0.8, 0.0)
    Detections(keys=frames.keys, views=frames.views, skeleton=foreign, keypoints=points, scores=scores).write(
        world.root / "detections.h5"
    )
    model = run_pretrain(world)
    change(world, lambda values: values["export"].update(first_teacher="detections"))
    found = run_export(world, model, "heatmaps.h5", "--detections", "detections.h5")
    ours = get("mpii_16").index("left_wrist")
    np.testing.assert_allclose(found.keypoints[:, :, ours], points[:, :, wrist])
    assert np.isnan(np.delete(found.keypoints, ours, axis=2)).all()
    assert found.maps(slice(0, 1))[0, 0, ours].max() == pytest.approx(0.8, abs=0.1)


def test_missing_detections_are_an_error(world, capsys):
    frames = Frames.read(world.frames)
    skeleton = get("mpii_16")
    nothing = np.full((len(frames), 4, 16, 2), np.nan)
    Detections(
        keys=frames.keys,
        views=frames.views,
        skeleton=skeleton,
        keypoints=nothing,
        scores=np.zeros((len(frames), 4, 16)),
    ).write(Path("none.h5"))
    model = run_pretrain(world)
    change(world, lambda values: values["export"].update(first_teacher="detections"))
    with pytest.raises(SystemExit, match="1"):
        run_export(world, model, "heatmaps.h5", "--detections", "none.h5")
    assert "export.first_teacher" in capsys.readouterr().err
    assert not Path("heatmaps.h5").exists()


def test_a_student_learns_from_pseudo_labels_and_the_control_does_not(world):
    model = run_pretrain(world)
    student = run_retrain(world, model).read_bytes()
    change(world, lambda values: values["retrain"].update(target_fraction=0.0))
    control = run_retrain(world, model, "control.pt").read_bytes()
    assert student != control
    path = world.data("r1") / "labels.h5"
    labels = Labels.read(path)
    shifted = dataclasses.replace(labels, keypoints=labels.keypoints + 3)
    path.unlink()
    shifted.write(path)
    assert run_retrain(world, model, "control2.pt").read_bytes() == control
    change(world, lambda values: None)
    assert run_retrain(world, model, "student2.pt").read_bytes() != student


def test_a_round_without_a_single_label_ends_in_a_sentence(world, capsys):
    model = run_pretrain(world)
    path = world.data("r1") / "labels.h5"
    labels = Labels.read(path)
    path.unlink()
    Labels(
        keys=labels.keys,
        views=labels.views,
        skeleton=labels.skeleton,
        keypoints=labels.keypoints * np.nan,
        weights=labels.weights * 0,
        reason=labels.reason,
        person_box=labels.person_box,
    ).write(path)
    with pytest.raises(SystemExit, match="1"):
        run_retrain(world, model)
    assert "not one pseudo label was accepted" in capsys.readouterr().err
    assert not (world.root / "student.pt").exists()


def test_a_saved_model_keeps_its_architecture(world):
    network, _ = build.load(run_pretrain(world))
    assert network.input_size == 64
    assert network.skeleton == "mpii_16"


def test_the_epipolar_loss_changes_the_training_and_its_curve_is_written(world):
    model = run_pretrain(world)
    plain = run_retrain(world, model).read_bytes()
    change(world, lambda values: values["retrain"].update(epipolar_weight=0.01, epipolar_joints="all"))
    assert run_retrain(world, model, "epipolar.pt").read_bytes() != plain
    header, *lines = (world.root / "retrain.csv").read_text().splitlines()
    assert header == "step,loss,heatmap,epipolar"
    _, loss, heatmap, epipolar = (float(cell) for cell in lines[-1].split(","))
    assert epipolar > 0
    assert loss == pytest.approx(heatmap + epipolar, abs=2e-4)  # the table has 4 digits
    sampson = (world.root / "epipolar.pt").read_bytes()
    change(world, lambda values: values["retrain"].update(epipolar_weight=5.0, epipolar_residual="algebraic"))
    assert run_retrain(world, model, "algebraic.pt").read_bytes() not in (plain, sampson)
    assert float((world.root / "retrain.csv").read_text().splitlines()[-1].split(",")[-1]) > 0


def test_two_processes_learn_what_one_does_in_three_steps(world):
    """Rounding grows with the steps, so only the first ones are equal up to it."""
    change(world, lambda values: values["pretrain"]["schedule"].update(steps=3, ema_decay=0.0))
    alone = build.load(run_pretrain(world, "alone.pt"))[1].state_dict()
    flags = ["--source", "source.h5", "--out", "two.pt", "--metrics", "two.json", "--curve", "two.csv"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "--no-python"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([*launch, sys.executable, "-m", "stages.pretrain", *flags], check=True, env=environment, timeout=120)
    together = build.load(world.root / "two.pt")[1].state_dict()
    assert alone.keys() == together.keys()
    squares = np.zeros(2)
    for key, value in alone.items():
        if value.dtype.is_floating_point:
            squares += [float((value - together[key]).double().square().sum()), float(value.double().square().sum())]
    assert np.sqrt(squares[0] / squares[1]) < 1e-5
    assert (world.root / "two.csv").read_text().splitlines()[0] == "step,loss"


def test_a_training_starts_from_a_file_and_another_file_is_another_training(world, capsys):
    model = run_pretrain(world, "first.pt")
    plain = model.read_bytes()
    flags = ["--source", "source.h5", "--out", "on.pt", "--metrics", "on.json", "--curve", "on.csv"]
    cli.run(pretrain.main, argv=[*flags, "--init", str(model)])
    assert "tensors loaded" in capsys.readouterr().out
    onward = (world.root / "on.pt").read_bytes()
    assert onward != plain
    cli.run(pretrain.main, argv=[*flags, "--init", str(world.root / "on.pt")])
    assert (world.root / "on.pt").read_bytes() != onward
    cli.run(pretrain.main, argv=[*flags, "--init", str(ROOT / "presets/from_scratch")])
    assert (world.root / "on.pt").read_bytes() == plain


def test_a_training_from_another_file_does_not_resume_from_the_first_ones_checkpoints(world):
    network = build.load(run_pretrain(world))[0]
    init = world.root / "init.pt"
    folders = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        build.save(init, network, build.build(network).state_dict())
        folders.append(scratch.fingerprint(Path(pretrain.__file__), [world.root / "source.h5", init]))
    assert folders[0] != folders[1]


def test_a_start_that_does_not_fit_ends_in_a_sentence(world, capsys):
    model = run_pretrain(world)
    change(world, lambda values: values["network"].update(width=16))
    flags = ["--source", "source.h5", "--out", "on.pt", "--metrics", "on.json", "--curve", "on.csv"]
    with pytest.raises(SystemExit, match="1"):
        cli.run(pretrain.main, argv=[*flags, "--init", str(model)])
    assert "data.init" in (error := capsys.readouterr().err)
    assert "its network.width is 8, that of params.yaml 16" in error
    assert not (world.root / "on.pt").exists()


NETWORKS: dict[str, dict[str, Any]] = {
    "mrheat1": {},
    "mrheat2": {},
    "mrfea1": {"block": "bottleneck"},
    "mrfea2": {"block": "bottleneck"},
    "hrnet": {},
    "hourglass": {"stacks": 2},
    "mobilenetv2": {},
    "integral": {"depth_bins": 0},
    "direct": {},
    "kinematic": {"skeleton": "h36m_18"},
}


def of_network(name, steps=3, loss="joints_mse", **changes):
    def edit(values):
        values["network"].update(name=name, **NETWORKS[name], **changes)
        for section in ("pretrain", "retrain"):
            values[section]["schedule"].update(steps=steps, learning_rate=0.002)
        values["training"]["schedule"]["warmup_fraction"] = 0.0
        coordinates = build.outputs(name).coordinates
        values["training"]["loss"]["name"] = "integral_l1" if coordinates else loss

    return edit


@pytest.mark.parametrize("name", NETWORKS)
def test_every_architecture_trains_twice_and_writes_heatmaps_or_names_the_reason(world, capsys, name):
    change(world, of_network(name))
    model = run_pretrain(world)
    student = run_retrain(world, model)
    assert build.load(student)[0].name == name
    assert student.read_bytes() != model.read_bytes()
    if name == "kinematic":
        with pytest.raises(SystemExit, match="1"):
            run_export(world, student)
        assert "joints around the pelvis, whose place is not known" in capsys.readouterr().err
    else:
        found = run_export(world, student)
        assert found.map_size == (16, 16)
        assert np.isfinite(found.scores).all()
        assert found.scores.max() <= (1.01 if build.outputs(name).coordinates else np.inf)


@pytest.mark.parametrize(("name", "kernels"), [("poseresnet", [4, 4]), ("poseresnet", [4, 4, 4]), ("hrnet", [4, 4, 4])])
def test_a_network_of_another_shape_goes_from_images_to_joints(world, name, kernels):
    def edit(values):
        values["network"].update(
            name=name, input_size=64, input_height=96, deconv_kernels=kernels, preprocessing="imagenet_rgb"
        )
        values["triangulate"].update(confidence_threshold=0.0, reproj_threshold_px=1000.0)

    change(world, edit)
    student = run_retrain(world, run_pretrain(world))
    stride = build.load(student)[0].stride
    assert stride == (8 if kernels == [4, 4] else 4)
    found, frames = run_export(world, student), Frames.read(world.frames)
    assert found.map_size == (64 // stride, 96 // stride)
    assert found.maps(slice(0, 1)).shape[-2:] == (96 // stride, 64 // stride)
    width = frames.box[..., 2] - frames.box[..., 0]
    np.testing.assert_allclose(found.image_from_map[..., 0, 0], width * stride / 64)
    middle = np.array([[(64 / stride - 1) / 2, (96 / stride - 1) / 2]])
    centre = crops.transform(found.image_from_map, middle)[..., 0, :]
    np.testing.assert_allclose(centre, (frames.box[..., :2] + frames.box[..., 2:]) / 2, atol=1e-3)  # px
    flags = ["--heatmaps", "heatmaps.h5", "--cameras", str(world.rig), "--out", "poses.h5", "--metrics", "poses.json"]
    cli.run(triangulate.main, argv=flags)
    poses = Poses.read(world.root / "poses.h5")
    assert np.isfinite(poses.joints).all(-1).mean() > 0.5
    flags[flags.index("poses.h5")] = "searched.h5"
    cli.run(rpsm.main, argv=[*flags, "--poses", "poses.h5"])
    assert np.isfinite(Poses.read(world.root / "searched.h5").joints).any()


@pytest.mark.parametrize("loss", ["integral_l1", "integral_l2"])
@pytest.mark.parametrize("name", ["integral", "direct"])
def test_the_loss_on_coordinates_falls(world, name, loss):
    def edit(values):
        of_network(name, steps=120)(values)
        values["training"]["loss"]["name"] = loss
        values["pretrain"]["schedule"].update(ema_decay=0.0, learning_rate=0.01)
        for key in ("rotation_std_deg", "scale_std", "shift", "flip_prob", "noise", "blur", "erase"):
            values["pretrain"]["augment"][key] = 0.0

    change(world, edit)
    run_pretrain(world)
    losses = [float(line.split(",")[1]) for line in (world.root / "training.csv").read_text().splitlines()[1:]]
    assert np.mean(losses[-3:]) < (0.9 if loss == "integral_l1" else 0.8) * losses[0]


@pytest.mark.parametrize(("name", "loss"), [("direct", "foreground"), ("poseresnet", "integral_l2")])
def test_a_loss_that_does_not_fit_the_network_is_refused_before_any_file_is_read(world, capsys, name, loss):
    def edit(values):
        values["network"]["name"] = name
        values["training"]["loss"]["name"] = loss

    change(world, edit)
    (world.root / "source.h5").unlink()
    with pytest.raises(SystemExit, match="1"):
        run_pretrain(world)
    assert f"pretrain.loss.name: {name} gives" in (error := capsys.readouterr().err)
    assert f"got {loss}" in error


def test_a_network_trains_with_its_own_preprocessing(world):
    plain = run_pretrain(world, "centred.pt")
    change(world, lambda values: values["network"].update(preprocessing="imagenet_rgb"))
    rgb = run_pretrain(world, "rgb.pt")
    one, other = (build.load(path)[1].state_dict()["conv1.weight"] for path in (plain, rgb))
    assert not torch.equal(one, other)


def fused(world, views=4, steps=8, **retrain_changes):
    def edit(values):
        values["network"]["fusion_views"] = views
        values["retrain"].update(batch_size=12, **retrain_changes)
        values["retrain"]["schedule"]["steps"] = steps

    change(world, edit)


def keys_of(model):
    return set(torch.load(model, weights_only=True)["weights"])


def test_fusion_starts_in_the_first_round_is_exported_and_kept_by_the_next(world):
    fused(world, consistency_weight=0.01)
    first = run_pretrain(world)
    assert not any(key.startswith("aggre_layer") for key in keys_of(first))
    assert run_export(world, first, "r0.h5").map_size == (16, 16)
    student = run_retrain(world, first)
    assert sum(key.startswith("aggre_layer") for key in keys_of(student)) == 12
    assert (world.root / "retrain.csv").read_text().splitlines()[0] == "step,loss,heatmap,consistency"
    together = run_export(world, student, "fused.h5")
    network, model = build.load(student)
    build.save(world.root / "alone.pt", network, model.single_view.state_dict())
    alone = run_export(world, world.root / "alone.pt", "alone.h5")
    assert not np.array_equal(together.keypoints, alone.keypoints)
    assert run_retrain(world, student, "second.pt").read_bytes() != student.read_bytes()
    assert keys_of(world.root / "second.pt") == keys_of(student)
    flags = ["--source", "source.h5", "--out", "on.pt", "--metrics", "on.json", "--curve", "on.csv"]
    cli.run(pretrain.main, argv=[*flags, "--init", str(student)])
    onward, kept = build.load(world.root / "on.pt")[1], build.load(student)[1]
    assert torch.equal(onward.aggre_layer.aggre[5].weight, kept.aggre_layer.aggre[5].weight)
    assert not torch.equal(onward.state_dict()["resnet.conv1.weight"], kept.state_dict()["resnet.conv1.weight"])


def test_a_frame_that_lacks_a_view_is_not_fused(world):
    fused(world)
    student = run_retrain(world, run_pretrain(world))
    whole = run_export(world, student, "whole.h5", "--labels", str(world.data("r1") / "labels.h5"))
    labels = Labels.read(world.data("r1") / "labels.h5")
    box = labels.person_box.copy()
    box[1, 2] = np.nan
    dataclasses.replace(labels, person_box=box).write(world.root / "lacking.h5")
    part = run_export(world, student, "part.h5", "--labels", "lacking.h5")
    network, model = build.load(student)
    build.save(world.root / "alone.pt", network, model.single_view.state_dict())
    alone = run_export(world, world.root / "alone.pt", "alone.h5", "--labels", str(world.data("r1") / "labels.h5"))
    np.testing.assert_array_equal(part.keypoints[[0, 2, 3, 4]], whole.keypoints[[0, 2, 3, 4]])
    np.testing.assert_allclose(part.keypoints[1, [0, 1, 3]], alone.keypoints[1, [0, 1, 3]], atol=0.05)  # px
    assert np.isnan(part.keypoints[1, 2]).all()


def test_the_loss_before_and_after_fusion_falls_and_the_same_inputs_give_the_same_bytes(world):
    fused(world, steps=120, target_fraction=1.0)
    model = run_pretrain(world)
    student = run_retrain(world, model).read_bytes()
    losses = [float(line.split(",")[1]) for line in (world.root / "retrain.csv").read_text().splitlines()[1:]]
    assert losses[-1] < 0.5 * losses[0]
    assert run_retrain(world, model, "again.pt").read_bytes() == student


def test_fusion_of_another_number_of_views_than_the_rig_has_is_refused(world, capsys):
    fused(world, views=3)
    model = run_pretrain(world)
    with pytest.raises(SystemExit, match="1"):
        run_retrain(world, model)
    assert "network.fusion_views: the network fuses 3 views, and" in (error := capsys.readouterr().err)
    assert "have 4 each" in error
    network, single = build.load(model)
    build.save(world.root / "three.pt", network, build.with_fusion(network, single).state_dict())
    with pytest.raises(SystemExit, match="1"):
        run_export(world, world.root / "three.pt")
    assert "fuses 3 views, and" in capsys.readouterr().err


def test_fusion_refuses_a_view_without_labels_mirrored_views_and_consistency_without_fusion(world, capsys):
    fused(world, views=0, consistency_weight=0.1)
    plain = run_pretrain(world)
    with pytest.raises(SystemExit, match="1"):
        run_retrain(world, plain)
    assert "retrain.consistency_weight: compares maps before and after fusion" in capsys.readouterr().err
    fused(world)
    model = run_pretrain(world)
    student = run_retrain(world, model)
    change(world, lambda values: values["export"].update(flip_test=True))
    with pytest.raises(SystemExit, match="1"):
        run_export(world, student)
    assert "export.flip_test: views that a network fuses" in capsys.readouterr().err
    path = world.data("r1") / "labels.h5"
    labels = Labels.read(path)
    path.unlink()
    weights = labels.weights.copy()
    weights[:, 1] = 0
    Labels(
        keys=labels.keys,
        views=labels.views,
        skeleton=labels.skeleton,
        keypoints=labels.keypoints,
        weights=weights,
        reason=labels.reason,
        person_box=labels.person_box,
    ).write(path)
    with pytest.raises(SystemExit, match="1"):
        run_retrain(world, model, "blind.pt")
    assert "labels: not one in view cam02; fusion needs some in each" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "height"), [("integral", 96), ("direct", 96), ("hourglass", 128), ("poseresnet", 96)])
def test_images_that_are_not_square_train_and_export_with_every_kind(world, name, height):
    def edit(values):
        if name in NETWORKS:
            of_network(name)(values)
        values["network"]["input_height"] = height
        if name == "poseresnet":
            values["network"]["fusion_views"] = 4
            values["retrain"]["batch_size"] = 12

    change(world, edit)
    found = run_export(world, run_retrain(world, run_pretrain(world)))
    assert found.map_size == (16, height // 4)
    assert np.isfinite(found.scores).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_exports_the_heatmaps_of_the_processor(world, monkeypatch):
    model = run_pretrain(world)
    on_processor = run_export(world, model, "cpu.h5")
    monkeypatch.setenv("POSE_DEVICE", "cuda")
    on_gpu = run_export(world, model, "cuda.h5")
    np.testing.assert_allclose(on_gpu.scores, on_processor.scores, atol=1e-3)
    difference = np.abs(on_gpu.maps(slice(None)) - on_processor.maps(slice(None)))
    assert difference.max() < 0.01  # of a peak of 1
    np.testing.assert_array_equal(on_gpu.image_from_map, on_processor.image_from_map)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two GPUs")
def test_two_gpus_learn_what_one_does(world, monkeypatch):
    def edit(values):
        values["pretrain"]["schedule"].update(steps=4)
        values["runtime"]["precision"] = "float32"

    change(world, edit)
    monkeypatch.setenv("POSE_DEVICE", "cuda:0")
    alone = build.load(run_pretrain(world, "alone.pt"))[1].state_dict()
    flags = ["--source", "source.h5", "--out", "two.pt", "--metrics", "two.json", "--curve", "two.csv"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "--no-python"]
    environment = {key: value for key, value in os.environ.items() if key != "POSE_DEVICE"} | {"PYTHONPATH": str(ROOT)}
    subprocess.run([*launch, sys.executable, "-m", "stages.pretrain", *flags], check=True, env=environment, timeout=300)
    together = build.load(world.root / "two.pt")[1].state_dict()
    for key, value in alone.items():
        if value.dtype.is_floating_point:
            torch.testing.assert_close(together[key], value, rtol=0.01, atol=0.01)
