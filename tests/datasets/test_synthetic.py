"""The embedded data: a few images of a small studio, whose ground truth is known to the millimetre."""

import hashlib
import json
import tomllib
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io

from pipeline import params
from pipeline.datasets.synthetic import raster
from pipeline.datasets.synthetic.body import ANGLE, ANGLES, JOINTS, pose_body, sample_body
from pipeline.datasets.synthetic.look import Corruptions, Look, sample_corruptions
from pipeline.datasets.synthetic.people import photograph
from pipeline.datasets.synthetic.rig import Studio, cameras_of, detect, sequence_of, take_view
from pipeline.geometry.camera import Camera
from stages.synthesize import People, Rig, Synthesize, main

STUDIO = Studio(
    seed=3, num_cameras=4, side_px=256, domain_gap=1.0, look=Look(), corruptions=Corruptions(), frames_per_second=2.5
)
CONFIG = Synthesize(
    seed=3,
    domain_gap=1.0,
    people=People(train=4, valid=2),
    rig=Rig(cameras=2, side_px=128, train_subjects=1, test_subjects=1, train_frames=5, test_frames=3),
    look=Look(),
    corruptions=Corruptions(),
)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Write the three folders with one worker."""
    root = tmp_path_factory.mktemp("one")
    main(people=root / "people", rig=root / "rig", truth=root / "truth", config=CONFIG, workers=1)
    return root


@pytest.mark.slow
def test_two_workers_write_the_same_bytes_as_one(written, tmp_path):
    main(people=tmp_path / "people", rig=tmp_path / "rig", truth=tmp_path / "truth", config=CONFIG, workers=2)
    assert digests(tmp_path) == digests(written)


def test_every_image_is_there_and_nothing_half_written_is_left(written):
    assert sorted(path.name for path in written.iterdir()) == ["people", "rig", "truth"]
    assert len(list((written / "people" / "images").glob("*.jpg"))) == 6
    names = [str(path.relative_to(written / "rig" / "views")) for path in (written / "rig" / "views").rglob("*.jpg")]
    expected = [f"{s}/cam_{c:02d}/{f:06d}.jpg" for s, n in (("s1", 5), ("s2", 3)) for c in (0, 1) for f in range(n)]
    assert sorted(names) == sorted(expected)
    assert json.loads((written / "rig" / "split.json").read_text()) == {"train": ["s1"], "test": ["s2"]}


def test_the_ground_truth_stands_in_its_own_folder_only(written):
    assert sorted(path.name for path in (written / "truth").iterdir()) == ["s1.trc", "s2.trc"]
    assert {path.suffix for path in (written / "rig").rglob("*") if path.is_file()} == {".jpg", ".json", ".toml"}
    boxes = json.loads((written / "rig" / "detections" / "boxes.json").read_text())
    assert {key for box in boxes for key in box} == {"image_id", "category_id", "bbox", "score"}


def test_the_written_ground_truth_is_what_was_rendered(written):
    lines = (written / "truth" / "s1.trc").read_text().splitlines()
    assert [name for name in lines[3].split("\t")[2:] if name] == list(JOINTS)
    rows = np.array([line.split("\t") for line in lines[6:]], dtype=float)
    studio = Studio(
        seed=3,
        num_cameras=2,
        side_px=128,
        domain_gap=1.0,
        look=Look(),
        corruptions=Corruptions(),
        frames_per_second=2.5,
    )
    joints = sequence_of(studio, 0, 5).pose.joints()
    np.testing.assert_array_equal(rows[:, 0], np.arange(5))
    np.testing.assert_allclose(rows[:, 2:].reshape(5, 16, 3), joints, atol=1e-3)  # mm


def test_the_written_calibration_projects_as_the_rendering_cameras_do(written):
    tables = tomllib.loads((written / "rig" / "calibration.toml").read_text())
    assert tables.pop("metadata") == {"units": "mm"}
    points = np.random.default_rng(0).uniform([-500, -500, 0], [500, 500, 1800], size=(50, 3))
    for camera in cameras_of(
        Studio(
            seed=3,
            num_cameras=2,
            side_px=128,
            domain_gap=1.0,
            look=Look(),
            corruptions=Corruptions(),
            frames_per_second=2.5,
        )
    ):
        table = tables[camera.name]
        projected, _ = cv2.projectPoints(
            points,
            np.array(table["rotation"]),
            np.array(table["translation"]),
            np.array(table["matrix"]),
            np.array(table["distortions"]),
        )
        np.testing.assert_allclose(projected[:, 0], camera.project(points), atol=1e-5)  # px


def test_a_record_gives_back_its_keypoints_and_its_box():
    photo = photograph(3, 1)
    record = photo.record("a.jpg")
    keypoints = np.array(record["joints"]) - 1
    np.testing.assert_allclose(keypoints[photo.inside], photo.keypoints[photo.inside], atol=1e-3)  # px
    centre = np.array(record["center"]) + [0, 15 * record["scale"]] - 1  # as readers of MPII derive the box
    np.testing.assert_allclose([*centre, 1.25 * 200 * record["scale"]], photo.box, atol=1e-2)  # px
    assert record["joints_vis"] == photo.inside.astype(int).tolist()


def test_the_head_boxes_have_their_published_shape(written):
    heads = scipy.io.loadmat(written / "people" / "annot" / "gt_valid.mat")["headboxes_src"]
    assert heads.shape == (2, 2, 2)
    assert (heads[1] > heads[0]).all()


def test_marked_keypoints_lie_on_the_person():
    distances = []
    for number in range(30):
        photo = photograph(3, number)
        distance_px = cv2.distanceTransform((~photo.person).astype(np.uint8), cv2.DIST_L2, 5)
        at = np.clip(photo.true_keypoints[photo.inside].round().astype(int), 0, photo.person.shape[0] - 1)
        distances += distance_px[at[:, 1], at[:, 0]].tolist()
    assert np.mean(np.array(distances) < 2) > 0.95  # px; things in front hide the others


def test_projected_joints_lie_on_the_silhouette_in_every_view():
    joints = sequence_of(STUDIO, 0, 13).pose.joints()
    on_person = []
    for view, camera in enumerate(cameras_of(STUDIO)):
        for frame in (0, 4, 8, 12):
            person = take_view(STUDIO, 0, 13, view, frame).person
            distance_px = cv2.distanceTransform((~person).astype(np.uint8), cv2.DIST_L2, 5)
            at = camera.project(joints[frame]).round().astype(int)
            on_person += (distance_px[at[:, 1], at[:, 0]] < 2).tolist()  # px
    assert np.mean(on_person) > 0.93  # the table and the chair hide a few


def test_boxes_hold_most_of_the_projected_joints():
    joints, held = sequence_of(STUDIO, 0, 26).pose.joints(), []
    for view, camera in enumerate(cameras_of(STUDIO)):
        for frame in range(0, 26, 3):
            boxes = detect(STUDIO, 0, view, frame, take_view(STUDIO, 0, 26, view, frame).person)
            if boxes:
                x, y, width, height = max(boxes, key=lambda one: one[1])[0]
                inside = (camera.project(joints[frame]) - [x, y]) / [width, height]
                held += ((inside > 0) & (inside < 1)).all(axis=-1).tolist()
    assert np.mean(held) > 0.85


def test_the_domain_gap_changes_the_images_and_not_the_joints():
    near = replace(STUDIO, domain_gap=0.0)
    np.testing.assert_array_equal(sequence_of(near, 1, 6).pose.joints(), sequence_of(STUDIO, 1, 6).pose.joints())
    one, other = take_view(near, 1, 6, 2, 3), take_view(STUDIO, 1, 6, 2, 3)
    assert (one.person != other.person).mean() < 0.01  # clothes are a little wider or narrower
    assert np.abs(one.image.astype(float) - other.image).mean() > 3  # of 255


def test_without_a_domain_gap_no_view_is_corrupted():
    near = replace(STUDIO, domain_gap=0.0)
    assert {take_view(near, 0, 13, view, frame).exposure.corruption for view in range(4) for frame in (0, 6)} == {""}


def test_corruptions_take_their_share_and_come_independently_in_the_views():
    plans = np.array(
        [
            [
                spell is not None
                for spell in sample_corruptions(np.random.default_rng(view), 20000, Corruptions(share=0.4))
            ]
            for view in range(2)
        ]
    )
    np.testing.assert_allclose(plans.mean(axis=1), 0.4, atol=0.03)
    np.testing.assert_allclose((plans[0] & plans[1]).mean(), 0.16, atol=0.03)


def test_a_sphere_is_drawn_where_and_as_large_as_it_is():
    camera = Camera(
        name="front",
        size=(129, 129),
        K=np.array([[100, 0, 64], [0, 100, 64], [0, 0, 1.0]]),
        R=np.eye(3),
        centre=np.zeros(3),
        distortion=np.zeros(5),
    )
    shapes, materials = np.zeros(1, raster.SHAPE), np.zeros(1, raster.MATERIAL)
    shapes["world_from_local"], shapes["centre"], shapes["texture_from_world"] = np.eye(3), (0, 0, 1000), np.eye(3)
    shapes["start_radius"] = shapes["end_radius"] = 300.0
    shapes["owner"], materials["base"] = raster.PERSON, 0.5
    colour, depth = np.zeros((129, 129, 3), np.float32), np.full((129, 129), 1e7, np.float32)
    owner = np.zeros((129, 129), np.uint8)
    rays = raster.rays_of(camera, (0, 0), (129, 129))
    lamp = raster.light(np.array([0, 0, -1.0]), np.ones(3), np.ones(3), 0.5)
    raster.draw(
        colour,
        depth,
        owner,
        rays=rays,
        corner=(0, 0),
        step=1.0,
        shapes=shapes,
        materials=materials,
        lamp=lamp,
        camera=camera,
    )
    assert depth[64, 64] == pytest.approx(700)  # mm
    radius = 100 * 300 / np.sqrt(1000**2 - 300**2)  # px, of the circle that a sphere projects to
    assert owner.sum() == pytest.approx(np.pi * radius**2, rel=0.01)


def test_rays_and_projection_undo_each_other_through_the_lens():
    camera = cameras_of(STUDIO)[0]
    rays = raster.rays_of(camera, (0, 0), (256, 256))
    directions = np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1) @ camera.R
    projected = camera.project(camera.centre + 3000 * directions)
    u, v = np.meshgrid(np.arange(256), np.arange(256))
    np.testing.assert_allclose(projected, np.stack([u, v], axis=-1), atol=1e-4)  # px


def test_who_stands_straight_has_their_right_hand_at_their_right_and_their_feet_on_the_floor():
    body = sample_body(np.random.default_rng(0))
    angles = np.zeros(len(ANGLES))
    joints = dict(zip(JOINTS, pose_body(body, angles, np.zeros(2)).joints(), strict=True))
    assert joints["right_wrist"][0] > 100  # mm; they face +y
    assert joints["left_wrist"][0] < -100
    assert 0 < joints["right_ankle"][2] < 120
    assert joints["head_top"][2] == pytest.approx(body.height, rel=0.08)
    angles[ANGLE["right_knee"]] = 90
    assert pose_body(body, angles, np.zeros(2)).points["right_ankle"][1] < -200  # a knee bends backwards


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rig": {"cameras": 1}}, "one view determines no depth"),
        ({"domain_gap": -0.1}, r"synthesize\.domain_gap"),
        ({"corruptions": {"share": 1.0}}, r"corruptions\.share"),
        ({"people": {"train": 0}}, r"synthesize\.people\.train: expected at least 1"),
        ({"rig": {"side_px": 130}}, "a multiple of 8"),
        ({"look": {"jpeg_quality": 0}}, r"look\.jpeg_quality: expected 1 to 100"),
        ({"gap": 1.0}, "`synthesize.gap` is called `synthesize.domain_gap` now"),
        ({"trouble": {}}, "`synthesize.trouble` is called `synthesize.corruptions` now"),
        ({"look": {"dull": 0.5}}, "`synthesize.look.dull` is called `synthesize.look.clothing_dullness` now"),
    ],
)
def test_numbers_out_of_range_are_refused_with_a_sentence(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        params.build(Synthesize, asdict(CONFIG) | change, "synthesize")
