"""A good rig, broken in every way that happens: the check names what was done, and the camera."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from benchmarks.evidence import SKELETON, Mistakes, scene
from benchmarks.rig_check import THRESHOLDS, exchanged, in_other_axes, late, observed, turned, with_camera, zoomed
from pipeline import params
from pipeline.files.cameras import write_cameras
from pipeline.files.detections import Detections
from pipeline.geometry.camera import Camera
from pipeline.geometry.viewing import transposed
from pipeline.rig.check import check
from pipeline.rig.observations import Observations
from pipeline.rig.report import RigReport
from stages import check_rig
from tests.pipeline_graph import ROOT
from tests.worlds import detected_world

Rig = tuple[Camera, ...]
pytestmark = pytest.mark.slow


def good(cameras: int, seed: int = 5) -> tuple[Observations, Rig]:
    """A detector with 3 px of noise, one gross mistake in 20, a missing joint in 20, at 25 frames a second."""
    world = scene(seed, cameras, test=300)
    return observed(world, Mistakes(noise_px=3.0, outliers=0.05, missing=0.05)), world.cameras


def checked(observations: Observations, rig: Rig) -> RigReport:
    return check(observations, rig, THRESHOLDS, max_offset_frames=12)


@pytest.fixture(scope="module")
def four() -> tuple[Observations, Rig]:
    return good(4)


def problems(report: RigReport) -> list[tuple[str, str]]:
    return [(finding.kind, finding.camera) for finding in report.findings if finding.serious]


def with_change(observations: Observations, view: int, change: Callable[[np.ndarray], np.ndarray]) -> Observations:
    return observations.with_view(view, change(observations.keypoints[:, view]))


@pytest.mark.parametrize("cameras", [3, 4, 6, 9])
def test_nothing_is_wrong_with_a_good_rig(cameras: int) -> None:
    for seed in (1, 2):
        report = checked(*good(cameras, seed))
        assert [finding.sentence for finding in report.findings] == []
        assert 0.85 < report.body_scale < 1.15
        assert all(figures["off_px"] < 15 for figures in report.by_camera.values())
        assert sum(figures["share"] for figures in report.by_camera.values()) == pytest.approx(100)


@pytest.mark.parametrize(("factor", "unit"), [(0.001, "in m:"), (0.1, "in cm:"), (1 / 25.4, "in inches:")])
def test_units(four: tuple[Observations, Rig], factor: float, unit: str) -> None:
    observations, rig = four
    report = checked(observations, tuple(replace(camera, centre=camera.centre * factor) for camera in rig))
    assert problems(report) == [("units", "")]
    assert unit in report.findings[0].sentence


def test_a_world_upside_down(four: tuple[Observations, Rig]) -> None:
    observations, rig = four
    report = checked(observations, in_other_axes(rig, np.diag([1.0, -1.0, -1.0])))
    assert problems(report) == [("up", "")]
    assert "-z" in report.findings[0].sentence


def test_a_world_on_its_side(four: tuple[Observations, Rig]) -> None:
    observations, rig = four
    y_up = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # new axes from old: up becomes y
    report = checked(observations, in_other_axes(rig, y_up))
    assert problems(report) == [("up", "")]
    assert "to be y" in report.findings[0].sentence or "to be -y" in report.findings[0].sentence


def test_a_mirrored_world(four: tuple[Observations, Rig]) -> None:
    assert ("mirrored", "") in problems(checked(four[0], in_other_axes(four[1], np.diag([-1.0, 1.0, 1.0]))))


def test_a_mirrored_person_in_a_consistent_world(four: tuple[Observations, Rig]) -> None:
    """Left and right exchanged everywhere: all views agree, only the body bends the wrong way."""
    observations, rig = four
    order = list(SKELETON.flipped)
    changed = replace(
        observations, keypoints=observations.keypoints[:, :, order], scores=observations.scores[:, :, order]
    )
    assert problems(checked(changed, rig)) == [("mirrored", "")]


@pytest.mark.slow
@pytest.mark.parametrize("which", ["one", "all"])
@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("mirrored", lambda keypoints: keypoints * [-1, 1] + [511, 0]),
        ("image_size", lambda keypoints: 511 - keypoints),
        ("image_size", lambda keypoints: keypoints / 2),
        ("image_size", lambda keypoints: (keypoints + 0.5) * 0.75 - 0.5),
    ],
    ids=["mirrored", "turned", "half", "three quarters"],
)
def test_other_images_than_calibrated(
    four: tuple[Observations, Rig], which: str, kind: str, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    observations, rig = four
    changed = (
        with_change(observations, 2, change)
        if which == "one"
        else replace(observations, keypoints=change(observations.keypoints))
    )
    assert problems(checked(changed, rig)) == [(kind, rig[2].name if which == "one" else "")]


@pytest.mark.slow
def test_transposed_rotations(four: tuple[Observations, Rig]) -> None:
    observations, rig = four
    assert problems(checked(observations, tuple(transposed(camera) for camera in rig))) == [("transposed", "")]
    one = (*rig[:1], transposed(rig[1]), *rig[2:])
    assert problems(checked(observations, one)) == [("transposed", rig[1].name)]


@pytest.mark.slow
def test_cameras_that_changed_places(four: tuple[Observations, Rig]) -> None:
    observations, rig = four
    report = checked(exchanged(observations, 0, 1), rig)
    assert problems(report) == [("exchanged", rig[0].name)]
    assert rig[1].name in report.findings[0].sentence


@pytest.mark.slow
@pytest.mark.parametrize("cameras", [3, 4])
@pytest.mark.parametrize("frames", [2, -5, 9])
def test_a_view_out_of_step(cameras: int, frames: int) -> None:
    observations, rig = good(cameras)
    report = checked(late(observations, 1, frames), rig)
    assert problems(report) == [("time", rig[1].name)]
    assert report.findings[0].figures["frames"] == frames
    assert f"{rig[1].name}: {frames:+d}" in report.findings[0].sentence


@pytest.mark.slow
def test_two_views_out_of_step(four: tuple[Observations, Rig]) -> None:
    observations, rig = four
    report = checked(late(late(observations, 1, 4), 3, -6), rig)
    assert {(each.camera, each.figures["frames"]) for each in report.findings} == {(rig[1].name, 4), (rig[3].name, -6)}


@pytest.mark.slow
@pytest.mark.parametrize(("cameras", "degrees"), [(3, 4.0), (4, 1.5), (4, 6.0), (6, 2.0)])
def test_a_camera_that_has_moved(cameras: int, degrees: float) -> None:
    observations, rig = good(cameras)
    report = checked(observations, turned(rig, 1, degrees))
    assert problems(report) == [("moved", rig[1].name)]
    assert report.findings[0].figures["degrees"] == pytest.approx(degrees, rel=0.3)
    worst = max(report.by_camera, key=lambda name: report.by_camera[name]["share"])
    assert worst == rig[1].name or cameras == 3


@pytest.mark.slow
def test_a_camera_that_was_zoomed(four: tuple[Observations, Rig]) -> None:
    observations, rig = four
    report = checked(observations, zoomed(rig, 1, 0.8))
    assert problems(report) == [("focal_length", rig[1].name)]
    assert report.findings[0].figures["times"] == pytest.approx(1.25, abs=0.03)


def test_a_camera_pushed_during_the_recording(four: tuple[Observations, Rig]) -> None:
    observations, rig = four
    keypoints = observations.keypoints.copy()
    row = len(keypoints) * 6 // 10
    keypoints[row:, 2] += [25.0, -10.0]
    report = checked(replace(observations, keypoints=keypoints), rig)
    assert problems(report) == [("pushed", rig[2].name)]
    assert abs(report.findings[0].figures["row"] - row) <= len(keypoints) // 12
    assert report.findings[0].figures["jump_px"] == pytest.approx(27, abs=5)


@pytest.mark.slow
def test_lenses_that_cannot_be(four: tuple[Observations, Rig]) -> None:
    observations, rig = four
    assert ("lens", rig[0].name) in problems(
        checked(observations, with_camera(rig, 0, distortion=np.array([0, 0, -0.4, 0.2, 0])))
    )
    K = rig[3].K.copy()
    K[:2, 2] *= 2
    assert ("image_size", rig[3].name) in problems(checked(observations, with_camera(rig, 3, K=K)))


def test_twice_the_same_camera(four: tuple[Observations, Rig]) -> None:
    observations, rig = four
    assert ("placement", rig[0].name) in problems(checked(observations, with_camera(rig, 1, centre=rig[0].centre)))


def test_a_loose_calibration_is_a_doubt(four: tuple[Observations, Rig]) -> None:
    observations, rig = four
    keypoints = observations.keypoints + np.array([[2.2, 0], [-2.2, 1], [0, 2.2], [1, -2.2]])[None, :, None]
    report = checked(replace(observations, keypoints=keypoints), rig)
    assert {finding.kind for finding in report.findings} <= {"loose"}


@pytest.mark.slow
def test_another_rig_altogether(four: tuple[Observations, Rig]) -> None:
    report = checked(four[0], good(4, 77)[1])
    assert "disagreement" in {finding.kind for finding in report.findings} or len(problems(report)) >= 2


def test_two_cameras() -> None:
    observations, rig = good(4)
    two = replace(observations, keypoints=observations.keypoints[:, :2], scores=observations.scores[:, :2])
    assert problems(checked(two, rig[:2])) == []
    assert problems(checked(late(two, 1, 5), rig[:2])) == [("time", rig[1].name)]
    R = Rotation.from_rotvec([np.radians(5), 0, 0]).as_matrix() @ rig[1].R
    assert problems(checked(two, (rig[0], replace(rig[1], R=R)))) == [("disagreement", "")]


def test_nobody_in_sight(four: tuple[Observations, Rig]) -> None:
    observations, rig = four
    report = checked(replace(observations, keypoints=np.full_like(observations.keypoints, np.nan)), rig)
    assert [(finding.kind, finding.serious) for finding in report.findings] == [("unknown", False)]


# --- the stage --------------------------------------------------------------------------------------------------------


def write(root: Path, observations: Observations, rig: Rig) -> dict[str, Path]:
    world = scene(5, 4, test=300)
    views = tuple(camera.name for camera in rig)
    Detections(
        keys=world.keys, views=views, skeleton=SKELETON, keypoints=observations.keypoints, scores=observations.scores
    ).write(root / "detections.h5")
    write_cameras(root / "cameras.toml", rig)
    return {
        "cameras": root / "cameras.toml",
        "detections": root / "detections.h5",
        "heatmaps": root / "none.h5",
        "metrics": root / "check_rig.json",
        "params": ROOT / "params.yaml",
    }


def test_the_stage_tells(
    four: tuple[Observations, Rig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    observations, rig = four
    flags = write(tmp_path, observations, turned(rig, 2, 5.0))
    detected_world.runner(monkeypatch, "check_rig")(**flags)
    printed = capsys.readouterr().out
    assert f"PROBLEM  {rig[2].name} does not stand as calibrated" in printed
    values = json.loads(flags["metrics"].read_text())
    assert len(values["problems"]) == 1
    assert values["by_camera"][rig[2].name]["share"] > 30


def test_the_stage_refuses_when_asked_to(four: tuple[Observations, Rig], tmp_path: Path) -> None:
    observations, rig = four
    flags = write(tmp_path, observations, turned(rig, 2, 5.0))
    config = replace(params.load(check_rig.CheckRig, flags.pop("params")), problems="refuse")
    with pytest.raises(ValueError, match="does not stand as calibrated"):
        check_rig.main(config=config, **flags)
    assert not flags["metrics"].exists()
    good_flags = write(tmp_path, observations, rig)
    good_flags.pop("params")
    check_rig.main(config=config, **good_flags)
    assert json.loads(flags["metrics"].read_text())["problems"] == []


def test_the_stage_says_what_it_needs(tmp_path: Path) -> None:
    config = params.load(check_rig.CheckRig, ROOT / "params.yaml")
    with pytest.raises(ValueError, match=r"there is no such file, and .* holds no keypoints"):
        check_rig.main(
            config=config,
            cameras=tmp_path / "c",
            detections=tmp_path / "j",
            heatmaps=tmp_path / "h",
            metrics=tmp_path / "m",
        )
