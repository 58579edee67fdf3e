"""Human3.6M through the stages' own command lines: target, truth and source of a tiny one, in every layout."""

import hashlib
import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from ruamel.yaml import YAML

from pipeline import cli, crops
from pipeline.datasets import videos
from pipeline.files import heatmaps as heatmap_file
from pipeline.files.cameras import read_cameras, read_rigs
from pipeline.files.detections import Detections
from pipeline.files.frames import Frames
from pipeline.files.samples import Samples
from pipeline.files.truth import Truth
from pipeline.geometry.triangulation import triangulate_dlt
from pipeline.heatmaps.compress import peak_patches
from pipeline.heatmaps.render import render
from stages import prepare_source
from tests.worlds import detected_world, raw_world
from tests.worlds import h36m_world as worlds
from tests.worlds.detected_world import PARAMS
from tests.worlds.h36m_world import World

CHOICE = {"train_subjects": [1], "test_subjects": [9], "train_every": 4, "test_every": 5, "damaged": "included"}
TARGET = {"layout": "h36m", "h36m": CHOICE, "test_last_frames": 0, "boxes": "volume"}


@pytest.fixture
def made() -> World:
    return worlds.world()


def write(layout: str, root: Path, made: World) -> tuple[Path, Path, Path]:
    """The flags: calibration, views, truth."""
    match layout:
        case "records":
            return (
                worlds.write_records(root, made),
                worlds.zip_images(worlds.write_images(root, made)),
                root / "annot",
            )
        case "release":
            worlds.write_release(root / "h36m", made)
            worlds.pack(root / "h36m")
            return root / "h36m/metadata.xml", root / "h36m", root / "h36m"
        case _:
            return worlds.write_matlab(root, made), worlds.write_images(root, made), root / "annot"


def prepare(
    root: Path,
    calibration: Path,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    detections: Path | None = None,
    **params: object,
) -> Path:
    out = root / "out"
    flags = {
        "calibration": calibration,
        "views": place,
        "detections": detections or root / "detections",
        "out": out / "target.h5",
        "cameras": out / "cameras.toml",
        "joints": out / "detections.h5",
        "metrics": out / "target.json",
        "frame-list": out / "frames.txt",
    }
    raw_world.run("prepare_target", flags, root, monkeypatch, **{**TARGET, **params})
    return out


def key_of(sequence: str) -> tuple[int, int, int]:
    subject, action, subaction = (int(sequence.split("_")[at]) for at in (1, 3, 5))
    return subject, action, subaction


@pytest.mark.parametrize("layout", ["records", "release", "matlab"])
def test_from_files_to_3d(layout, tmp_path, made, monkeypatch):
    calibration, views, truth = write(layout, tmp_path, made)
    out = prepare(tmp_path, calibration, views, monkeypatch)
    flags = {"truth": truth, "frames": out / "target.h5", "out": out / "truth.h5"}
    raw_world.run("prepare_truth", flags, tmp_path, monkeypatch)

    found, known = Frames.read(out / "target.h5"), Truth.read(out / "truth.h5")
    assert (found.keys.split == "train").sum() == 8 and (found.keys.split == "test").sum() == 6
    assert set(found.keys.person.tolist()) == {"S1", "S9"}
    assert found.views == worlds.CAMERAS
    assert known.skeleton.name == "h36m_17" and known.recipe == "damaged_included"
    assert (known.head == 200).all()

    groups = read_rigs(out / "cameras.toml").groups(found.keys, found.views, "cameras.toml")
    assert len(groups) == 2  # a rig a subject, however many takes
    with pytest.raises(ValueError, match="holds 2 rigs"):
        read_cameras(out / "cameras.toml")
    for rows, rig in groups:
        exact = np.stack(
            [made.keypoints(key_of(found.keys.sequence[row]))[found.keys.number[row] - 1] for row in rows]
        )  # (frames, views, joints, 2) px, as Human3.6M labels them
        straight = np.stack([camera.undistort(exact[:, view]) for view, camera in enumerate(rig)], axis=1)
        projections = np.stack([camera.image_from_world for camera in rig])
        joints = triangulate_dlt(straight, projections, np.ones(straight.shape[:-1]))
        np.testing.assert_allclose(joints, known.joints[rows], atol=0.05)  # mm
        np.testing.assert_allclose(
            known.joints[rows],
            [made.takes[key_of(found.keys.sequence[row])][found.keys.number[row] - 1] for row in rows],
            atol=1e-2,
        )

    row, view = 3, 2  # the stored image is that of this frame
    key, number = key_of(found.keys.sequence[row]), int(found.keys.number[row])
    x, y = made.keypoints(key)[number - 1, view, 3]  # an ankle's dot
    at = found.crop_from_image[row, view] @ [x, y, 1]
    blue, _, red = found.image(row, view)[tuple(at[::-1].round().astype(int))].astype(int)
    assert red - blue > 80  # grey values: the dot is yellow, the rest is grey
    with h5py.File(out / "target.h5") as file:
        assert file.attrs.get("decoder", "") == (videos.decoder() if layout == "release" else "")

    listed = (out / "frames.txt").read_text()
    assert listed.startswith(
        "train s_01_act_02_subact_01 1\ntrain s_01_act_02_subact_01 5\ntrain s_01_act_02_subact_02 3\n"
    )
    metrics = json.loads((out / "target.json").read_text())
    assert metrics["frame_list_sha256"] == hashlib.sha256(listed.encode()).hexdigest()
    assert metrics["boxes"] == {"volume": 14 * 4}


def test_all_layouts_choose_the_same_frames(tmp_path, made, monkeypatch):
    lists = []
    for layout in ("records", "release", "matlab"):
        calibration, views, _ = write(layout, tmp_path / layout, made)
        lists.append((prepare(tmp_path / layout, calibration, views, monkeypatch) / "frames.txt").read_bytes())
    assert len(set(lists)) == 1


def test_the_same_files_give_the_same_bytes(tmp_path, made, monkeypatch):
    calibration, views, _ = write("release", tmp_path, made)
    first = (prepare(tmp_path, calibration, views, monkeypatch) / "target.h5").read_bytes()
    monkeypatch.setenv("POSE_WORKERS", "3")
    assert (prepare(tmp_path, calibration, views, monkeypatch) / "target.h5").read_bytes() == first


def test_damaged_takes_are_out_by_name(tmp_path, made, monkeypatch, capsys):
    calibration, views, truth = write("records", tmp_path, made)
    out = prepare(tmp_path, calibration, views, monkeypatch, h36m={**CHOICE, "damaged": "excluded"})
    assert "s_09_act_05_subact_02: 1 of the selected frame groups left out" in capsys.readouterr().out
    assert "s_09_act_05_subact_02" not in (out / "frames.txt").read_text()
    flags = {"truth": truth, "frames": out / "target.h5", "out": out / "truth.h5"}
    raw_world.run("prepare_truth", flags, tmp_path, monkeypatch)
    assert Truth.read(out / "truth.h5").recipe == "damaged_excluded"


def test_some_views_alone(tmp_path, made, monkeypatch):
    calibration, views, _ = write("matlab", tmp_path, made)
    out = prepare(tmp_path, calibration, views, monkeypatch, views=["60457274", "54138969"])
    assert Frames.read(out / "target.h5").views == ("54138969", "60457274")


def test_boxes_of_a_detector(tmp_path, made, monkeypatch):
    calibration, views, _ = write("records", tmp_path, made)
    entries = []
    for key in made.takes:
        for frame, keypoints in enumerate(made.keypoints(key), start=1):
            for view, camera in enumerate(worlds.CAMERAS):
                low, high = keypoints[view].min(axis=0), keypoints[view].max(axis=0)
                name = f"s_{key[0]:02}_act_{key[1]:02}_subact_{key[2]:02}/{camera}/{frame}"
                entries.append({"image_id": name, "bbox": [*low.tolist(), *(high - low).tolist()], "score": 0.9})
    (tmp_path / "detections").mkdir()
    (tmp_path / "detections/boxes.json").write_text(json.dumps(entries))
    out = prepare(tmp_path, calibration, views, monkeypatch, boxes="detections")
    found = Frames.read(out / "target.h5")
    centre = (found.box[0, 0, :2] + found.box[0, 0, 2:]) / 2
    keypoints = made.keypoints((1, 2, 1))[0, 0]
    np.testing.assert_allclose(centre, (keypoints.min(axis=0) + keypoints.max(axis=0)) / 2, atol=1e-6)  # px


@pytest.mark.parametrize("parts", [("train", "test"), ("test",)])
def test_the_released_keypoints_of_a_published_network_are_detections(tmp_path, made, monkeypatch, capsys, parts):
    calibration, views, _ = write("records", tmp_path, made)
    keys = Frames.read(prepare(tmp_path, calibration, views, monkeypatch) / "target.h5").keys
    exact = np.stack(
        [made.keypoints(key_of(s))[n - 1] for s, n in zip(keys.sequence.tolist(), keys.number.tolist(), strict=True)]
    )  # (frames, views, 17, 2)
    rows = np.isin(keys.split, parts)
    order = np.arange(17)[::-1]
    released = np.concatenate([exact[rows], np.full((rows.sum(), 4, 17, 1), 0.9)], axis=-1).reshape(-1, 17, 3)
    path = tmp_path / "heatmaps_locations_validation_multiview_h36m.h5"
    with h5py.File(path, "w") as file:
        file["heatmaps"] = np.zeros((len(released), 17, 4, 4), dtype=np.float32)
        file["locations"] = released[:, order].astype(np.float32)
        file["joint_names_order"] = order
    out = prepare(tmp_path, calibration, views, monkeypatch, detections=path, detections_format="h36m_17")
    found = Detections.read(out / "detections.h5")
    np.testing.assert_allclose(found.keypoints[rows], exact[rows], atol=1e-3)  # px
    assert np.isnan(found.keypoints[~rows]).all() and (found.scores[~rows] == 0).all()
    with h5py.File(path, "a") as file:
        del file["locations"]
        file["locations"] = released[1:].astype(np.float32)
    with pytest.raises(SystemExit):
        prepare(tmp_path, calibration, views, monkeypatch, detections=path, detections_format="h36m_17")
    assert f"its {len(released) - 1} rows fit no part of the target" in capsys.readouterr().err


def test_boxes_from_the_truth_are_labels(tmp_path, made, monkeypatch, capsys):
    calibration, views, _ = write("records", tmp_path, made)
    with pytest.raises(SystemExit):
        prepare(tmp_path, calibration, views, monkeypatch, boxes="truth")
    assert "which an unlabelled target does not have" in capsys.readouterr().err
    out = prepare(
        tmp_path, calibration, views, monkeypatch, boxes="truth", h36m={**CHOICE, "truth_boxes_allowed": True}
    )
    found = Frames.read(out / "target.h5")
    camera, root = made.rigs[1][2], made.takes[1, 2, 1][0, 0]
    depth = camera.camera_from_world(root)[2]
    np.testing.assert_allclose(found.box[0, 2, 2] - found.box[0, 2, 0], 2000 * camera.K[0, 0] / depth, rtol=1e-6)  # px
    assert json.loads((out / "target.json").read_text())["boxes"] == {"truth": 14 * 4}


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"frame_stride": 2}, "Human3.6M's frames are chosen in target.h36m"),
        ({"h36m": {"train_subjects": [3]}}, "expected subjects among 1, 5, 6, 7, 8, 9, 11, got [3, 9, 11]"),
        ({"h36m": {"every": 3}}, "target.h36m.every: no such parameter"),
        ({"h36m": {**CHOICE, "leave_out": ["s_01"]}}, "there is no take 's_01'"),
        (
            {"h36m": {**CHOICE, "train_subjects": [5], "test_subjects": [11]}},
            "no frame group of S5, S11 is there in all views",
        ),
        ({"views": ["54138969", "cam2"]}, "target.views: there is no camera 'cam2'"),
        ({"layout": "rig", "boxes": "truth"}, "truth is for the layout h36m"),
    ],
)
def test_what_cannot_be_right_is_one_sentence(tmp_path, made, monkeypatch, capsys, params, sentence):
    calibration, views, _ = write("records", tmp_path, made)
    with pytest.raises(SystemExit) as ended:
        prepare(tmp_path, calibration, views, monkeypatch, **params)
    assert ended.value.code == 1
    message = capsys.readouterr().err.strip().split("\n")[-1]
    assert sentence in message


def test_truth_of_frames_that_are_not_human36ms(tmp_path, made, monkeypatch, capsys):
    raw = raw_world.write(tmp_path / "rig")
    raw.prepare_target(monkeypatch)
    truth = worlds.write_records(tmp_path, made)
    flags = {"truth": truth, "frames": raw.out / "target.h5", "out": raw.out / "truth.h5"}
    with pytest.raises(SystemExit):
        raw_world.run("prepare_truth", flags, tmp_path, monkeypatch)
    assert "is none of Human3.6M" in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["records", "release", "matlab", "challenge"])
def test_as_a_labelled_source(tmp_path, made, layout):
    folder = tmp_path / "h36m"
    labelled_set = {"path": str(folder), "layout": "h36m", "h36m": CHOICE}
    match layout:
        case "records":
            worlds.write_records(folder, made)
            worlds.write_images(folder, made)
        case "release":
            worlds.write_release(folder, made)
            worlds.pack(folder, "zip")
        case "matlab":
            worlds.write_matlab(folder, made)
            worlds.write_images(folder, made)
        case "challenge":
            worlds.write_challenge(folder, made)
            worlds.write_challenge_detections(folder, made)
            labelled_set = {"path": str(folder), "layout": "h36m_challenge"}
    params = tmp_path / "params.yaml"
    source_cache = {"cache_size": 96, "cache_margin": 0.4, "jpeg_quality": 95, "unreadable": "refuse"}
    YAML().dump({"sources": {"h36m": labelled_set}, "source_cache": source_cache}, params)
    flags = {"data": folder, "name": "h36m", "out": tmp_path / "s.h5", "metrics": tmp_path / "s.json", "params": params}
    cli.run(prepare_source.main, argv=[str(word) for key, value in flags.items() for word in (f"--{key}", value)])
    found = Samples.read(tmp_path / "s.h5")
    assert found.skeleton.name == "h36m_17"
    assert ((found.split == "train").sum(), (found.split == "valid").sum()) == (
        (6, 6) if layout == "challenge" else (32, 24)
    )
    with h5py.File(tmp_path / "s.h5") as file:
        assert file.attrs.get("decoder", "") == (videos.decoder() if layout == "release" else "")
    for row in (0, len(found) - 1):  # the yellow dots are where the labels say
        at = found.crop_from_image[row] @ np.append(found.keypoints[row, 3], 1)
        blue, _, red = found.image(row)[tuple(at[::-1].round().astype(int))].astype(int)
        assert red - blue > 60  # grey values


def test_a_pickle_with_code_in_it_does_not_run(tmp_path, made, monkeypatch, capsys):
    calibration, views, _ = write("records", tmp_path, made)
    mark = tmp_path / "ran"

    class Touch:
        def __reduce__(self):
            return os.system, (f"touch {mark}",)

    for protocol in (2, 3):
        worlds.write_records(tmp_path, made, lambda records: records[1].update(extra=Touch()), protocol)
        with pytest.raises(SystemExit):
            prepare(tmp_path, calibration, views, monkeypatch)
        message = capsys.readouterr().err
        assert "h36m_train.pkl: the pickle asks for posix.system" in message
        assert not mark.exists()


def test_from_detections_to_a_metric_that_says_its_recipe(tmp_path, made, monkeypatch):
    """With exact detections in every view the triangulated joints of both subjects are the ground truth, each in its rig."""
    calibration, views, truth = write("records", tmp_path, made)
    for key in made.takes:
        folder = tmp_path / f"detections/s_{key[0]:02}_act_{key[1]:02}_subact_{key[2]:02}"
        folder.mkdir(parents=True)
        for view, camera in enumerate(worlds.CAMERAS):
            seen = np.insert(made.keypoints(key)[:, view], 2, 0.9, axis=-1)
            entries = [
                {"image_id": n, "keypoints": one.ravel().tolist(), "score": 1.0} for n, one in enumerate(seen, 1)
            ]
            (folder / f"{camera}.json").write_text(json.dumps(entries))
    out = prepare(tmp_path, calibration, views, monkeypatch, detections_format="h36m_17", boxes="detections")
    flags = {"truth": truth, "frames": out / "target.h5", "out": out / "truth.h5"}
    raw_world.run("prepare_truth", flags, tmp_path, monkeypatch)

    found, target = Detections.read(out / "detections.h5"), Frames.read(out / "target.h5")
    map_from_image = crops.crop_from_image(target.box, 32)
    maps = render(crops.transform(map_from_image, found.keypoints), (32, 32), 1.5)
    side = heatmap_file.patch_side((32, 32))
    with heatmap_file.writing(out / "heatmaps.h5", found.keys, found.views, found.skeleton, (32, 32)) as writer:
        writer.append(found.keypoints, found.scores, crops.inverse(map_from_image), peak_patches(maps, side))
    params = tmp_path / "params.yaml"
    params.write_text(PARAMS + "evaluate:\n  curve_limit: 0.5\n  curve_points: 11\n")
    common = {"heatmaps": out / "heatmaps.h5", "cameras": out / "cameras.toml", "params": params}
    detected_world.runner(monkeypatch, "triangulate")(**common, out=out / "poses.h5", metrics=out / "triangulate.json")
    detected_world.runner(monkeypatch, "evaluate")(
        **common,
        poses=out / "poses.h5",
        rpsm=out / "poses.h5",
        truth=out / "truth.h5",
        metrics=out / "evaluate.json",
        joints=out / "joints.csv",
        curve=out / "curve.csv",
    )
    values = json.loads((out / "evaluate.json").read_text())
    assert values.keys() == {"recipe", "damaged_included"}
    assert values["damaged_included"]["mpjpe_abs_mm"] < 1
    assert values["damaged_included"]["coverage"] == 100
    assert values["damaged_included"]["pckh_50"] == 100
