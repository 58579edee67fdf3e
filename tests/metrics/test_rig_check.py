"""A good rig, broken in every way that happens: the check names what was done, and the camera."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from benchmarks.evidence import SKELETON, Mistakes, detect, scene
from benchmarks.rig_check import exchanged, in_other_axes, late, transposed, turned, with_camera, zoomed
from pipeline import params
from pipeline.files.cameras import write_cameras
from pipeline.files.detections import Detections
from pipeline.geometry.camera import Camera
from pipeline.metrics.rig_check import Checked, Rules, Sight, check
from stages import check_rig
from tests import seen_world
from tests.pipeline_graph import ROOT

RULES = Rules(0.3, 15.0, 5.0, 12)
Rig = tuple[Camera, ...]


def good(cameras: int, seed: int = 5) -> tuple[Sight, Rig]:
    """A detector with 3 px of noise, one gross mistake in 20, a missing joint in 20, at 25 frames a second."""
    world = scene(seed, cameras, test=300)
    points, scores = detect(world, Mistakes(noise_px=3.0, outliers=0.05, missing=0.05), 0)
    return Sight(points, scores, world.keys.sequence, world.keys.number, SKELETON), world.cameras


@pytest.fixture(scope="module")
def four() -> tuple[Sight, Rig]:
    return good(4)


def said(found: Checked) -> list[tuple[str, str]]:
    return [(finding.kind, finding.camera) for finding in found.findings if finding.serious]


def seen(sight: Sight, view: int, change: Callable[[np.ndarray], np.ndarray]) -> Sight:
    return sight.moved(view, change(sight.points[:, view]))


@pytest.mark.parametrize("cameras", [3, 4, 6, 9])
def test_nothing_is_wrong_with_a_good_rig(cameras: int) -> None:
    for seed in (1, 2):
        found = check(*good(cameras, seed), RULES)
        assert [finding.sentence for finding in found.findings] == []
        assert 0.85 < found.body_scale < 1.15
        assert all(figures["off_px"] < 15 for figures in found.by_camera.values())
        assert sum(figures["share"] for figures in found.by_camera.values()) == pytest.approx(100)


@pytest.mark.parametrize(("factor", "unit"), [(0.001, "in m:"), (0.1, "in cm:"), (1 / 25.4, "in inches:")])
def test_units(four: tuple[Sight, Rig], factor: float, unit: str) -> None:
    sight, rig = four
    found = check(sight, tuple(replace(camera, centre=camera.centre * factor) for camera in rig), RULES)
    assert said(found) == [("units", "")]
    assert unit in found.findings[0].sentence


def test_a_world_upside_down(four: tuple[Sight, Rig]) -> None:
    sight, rig = four
    found = check(sight, in_other_axes(rig, np.diag([1.0, -1.0, -1.0])), RULES)
    assert said(found) == [("up", "")]
    assert "-z" in found.findings[0].sentence


def test_a_world_on_its_side(four: tuple[Sight, Rig]) -> None:
    sight, rig = four
    y_up = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # new axes from old: up becomes y
    found = check(sight, in_other_axes(rig, y_up), RULES)
    assert said(found) == [("up", "")]
    assert "to be y" in found.findings[0].sentence or "to be -y" in found.findings[0].sentence


def test_a_mirrored_world(four: tuple[Sight, Rig]) -> None:
    assert ("mirrored", "") in said(check(four[0], in_other_axes(four[1], np.diag([-1.0, 1.0, 1.0])), RULES))


def test_a_mirrored_person_in_a_consistent_world(four: tuple[Sight, Rig]) -> None:
    """Left and right exchanged everywhere: all views agree, only the body bends the wrong way."""
    sight, rig = four
    order = list(SKELETON.flipped)
    changed = replace(sight, points=sight.points[:, :, order], scores=sight.scores[:, :, order])
    assert said(check(changed, rig, RULES)) == [("mirrored", "")]


@pytest.mark.parametrize("which", ["one", "all"])
@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("mirrored", lambda points: points * [-1, 1] + [511, 0]),
        ("picture_size", lambda points: 511 - points),
        ("picture_size", lambda points: points / 2),
        ("picture_size", lambda points: (points + 0.5) * 0.75 - 0.5),
    ],
    ids=["mirrored", "turned", "half", "three quarters"],
)
def test_other_pictures_than_calibrated(
    four: tuple[Sight, Rig], which: str, kind: str, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    sight, rig = four
    changed = seen(sight, 2, change) if which == "one" else replace(sight, points=change(sight.points))
    assert said(check(changed, rig, RULES)) == [(kind, rig[2].name if which == "one" else "")]


def test_transposed_rotations(four: tuple[Sight, Rig]) -> None:
    sight, rig = four
    assert said(check(sight, tuple(transposed(camera) for camera in rig), RULES)) == [("transposed", "")]
    one = (*rig[:1], transposed(rig[1]), *rig[2:])
    assert said(check(sight, one, RULES)) == [("transposed", rig[1].name)]


def test_cameras_that_changed_places(four: tuple[Sight, Rig]) -> None:
    sight, rig = four
    found = check(exchanged(sight, 0, 1), rig, RULES)
    assert said(found) == [("exchanged", rig[0].name)]
    assert rig[1].name in found.findings[0].sentence


@pytest.mark.parametrize("cameras", [3, 4])
@pytest.mark.parametrize("frames", [2, -5, 9])
def test_a_view_out_of_step(cameras: int, frames: int) -> None:
    sight, rig = good(cameras)
    found = check(late(sight, 1, frames), rig, RULES)
    assert said(found) == [("time", rig[1].name)]
    assert found.findings[0].figures["frames"] == frames
    assert f"{rig[1].name}: {frames:+d}" in found.findings[0].sentence


def test_two_views_out_of_step(four: tuple[Sight, Rig]) -> None:
    sight, rig = four
    found = check(late(late(sight, 1, 4), 3, -6), rig, RULES)
    assert {(each.camera, each.figures["frames"]) for each in found.findings} == {(rig[1].name, 4), (rig[3].name, -6)}


@pytest.mark.parametrize(("cameras", "degrees"), [(3, 4.0), (4, 1.5), (4, 6.0), (6, 2.0)])
def test_a_camera_that_has_moved(cameras: int, degrees: float) -> None:
    sight, rig = good(cameras)
    found = check(sight, turned(rig, 1, degrees), RULES)
    assert said(found) == [("moved", rig[1].name)]
    assert found.findings[0].figures["degrees"] == pytest.approx(degrees, rel=0.3)
    worst = max(found.by_camera, key=lambda name: found.by_camera[name]["share"])
    assert worst == rig[1].name or cameras == 3


def test_a_camera_that_was_zoomed(four: tuple[Sight, Rig]) -> None:
    sight, rig = four
    found = check(sight, zoomed(rig, 1, 0.8), RULES)
    assert said(found) == [("focal_length", rig[1].name)]
    assert found.findings[0].figures["times"] == pytest.approx(1.25, abs=0.03)


def test_a_camera_pushed_during_the_recording(four: tuple[Sight, Rig]) -> None:
    sight, rig = four
    points = sight.points.copy()
    row = len(points) * 6 // 10
    points[row:, 2] += [25.0, -10.0]
    found = check(replace(sight, points=points), rig, RULES)
    assert said(found) == [("pushed", rig[2].name)]
    assert abs(found.findings[0].figures["row"] - row) <= len(points) // 12
    assert found.findings[0].figures["jump_px"] == pytest.approx(27, abs=5)


def test_lenses_that_cannot_be(four: tuple[Sight, Rig]) -> None:
    sight, rig = four
    assert ("lens", rig[0].name) in said(
        check(sight, with_camera(rig, 0, distortion=np.array([0, 0, -0.4, 0.2, 0])), RULES)
    )
    K = rig[3].K.copy()
    K[:2, 2] *= 2
    assert ("picture_size", rig[3].name) in said(check(sight, with_camera(rig, 3, K=K), RULES))


def test_twice_the_same_camera(four: tuple[Sight, Rig]) -> None:
    sight, rig = four
    assert ("placement", rig[0].name) in said(check(sight, with_camera(rig, 1, centre=rig[0].centre), RULES))


def test_a_loose_calibration_is_a_doubt(four: tuple[Sight, Rig]) -> None:
    sight, rig = four
    points = sight.points + np.array([[2.2, 0], [-2.2, 1], [0, 2.2], [1, -2.2]])[None, :, None]
    found = check(replace(sight, points=points), rig, RULES)
    assert {finding.kind for finding in found.findings} <= {"loose"}


def test_another_rig_altogether(four: tuple[Sight, Rig]) -> None:
    found = check(four[0], good(4, 77)[1], RULES)
    assert "disagreement" in {finding.kind for finding in found.findings} or len(said(found)) >= 2


def test_two_cameras() -> None:
    sight, rig = good(4)
    two = replace(sight, points=sight.points[:, :2], scores=sight.scores[:, :2])
    assert said(check(two, rig[:2], RULES)) == []
    assert said(check(late(two, 1, 5), rig[:2], RULES)) == [("time", rig[1].name)]
    R = Rotation.from_rotvec([np.radians(5), 0, 0]).as_matrix() @ rig[1].R
    assert said(check(two, (rig[0], replace(rig[1], R=R)), RULES)) == [("disagreement", "")]


def test_nobody_in_sight(four: tuple[Sight, Rig]) -> None:
    sight, rig = four
    found = check(replace(sight, points=np.full_like(sight.points, np.nan)), rig, RULES)
    assert [(finding.kind, finding.serious) for finding in found.findings] == [("unknown", False)]


# --- the stage --------------------------------------------------------------------------------------------------------


def write(root: Path, sight: Sight, rig: Rig) -> dict[str, Path]:
    world = scene(5, 4, test=300)
    views = tuple(camera.name for camera in rig)
    Detections(keys=world.keys, views=views, skeleton=SKELETON, points=sight.points, scores=sight.scores).write(
        root / "detections.h5"
    )
    write_cameras(root / "cameras.toml", rig)
    return {
        "cameras": root / "cameras.toml",
        "joints": root / "detections.h5",
        "heatmaps": root / "none.h5",
        "metrics": root / "check_rig.json",
        "params": ROOT / "params.yaml",
    }


def test_the_stage_tells(
    four: tuple[Sight, Rig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sight, rig = four
    flags = write(tmp_path, sight, turned(rig, 2, 5.0))
    seen_world.runner(monkeypatch, "check_rig")(**flags)
    told = capsys.readouterr().out
    assert f"PROBLEM  {rig[2].name} does not stand as calibrated" in told
    values = json.loads(flags["metrics"].read_text())
    assert len(values["problems"]) == 1
    assert values["by_camera"][rig[2].name]["share"] > 30


def test_the_stage_refuses_when_asked_to(four: tuple[Sight, Rig], tmp_path: Path) -> None:
    sight, rig = four
    flags = write(tmp_path, sight, turned(rig, 2, 5.0))
    config = replace(params.load(check_rig.CheckRig, flags.pop("params")), problems="refuse")
    with pytest.raises(ValueError, match="does not stand as calibrated"):
        check_rig.main(config=config, **flags)
    assert not flags["metrics"].exists()
    good_flags = write(tmp_path, sight, rig)
    good_flags.pop("params")
    check_rig.main(config=config, **good_flags)
    assert json.loads(flags["metrics"].read_text())["problems"] == []


def test_the_stage_says_what_it_needs(tmp_path: Path) -> None:
    config = params.load(check_rig.CheckRig, ROOT / "params.yaml")
    with pytest.raises(ValueError, match=r"there is no such file, and .* holds no joints"):
        check_rig.main(
            config=config,
            cameras=tmp_path / "c",
            joints=tmp_path / "j",
            heatmaps=tmp_path / "h",
            metrics=tmp_path / "m",
        )
