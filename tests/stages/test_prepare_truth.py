"""Prepare truth through its own command line: marker files become joints, matched to the target's frames by number."""

import numpy as np
import pytest

from pipeline.files.truth import Truth
from pipeline.skeleton import get
from tests.worlds import raw_world
from tests.worlds.raw_world import Raw

MPII = get("mpii_16")


@pytest.fixture
def raw(tmp_path, monkeypatch) -> Raw:
    raw = raw_world.write(tmp_path, frames=5)
    raw.prepare_target(monkeypatch)
    return raw


def prepare(raw: Raw, monkeypatch: pytest.MonkeyPatch, **params: object) -> Truth:
    raw.prepare_truth(monkeypatch, **params)
    return Truth.read(raw.out / "truth.h5")


def test_our_own_names_come_through(raw, monkeypatch):
    truth = prepare(raw, monkeypatch)
    np.testing.assert_allclose(truth.joints, raw_world.people(MPII.joint_names, 5), atol=1e-3)  # mm
    np.testing.assert_allclose(truth.head, 0.75 * np.hypot(20, 220))  # mm
    assert truth.origin == "truth"
    assert truth.keys.number.tolist() == [0, 1, 2, 3, 4]


def test_a_peer_with_other_names_axes_units_and_numbers(raw, monkeypatch):
    names = {"RHip": "right_hip", "LKnee": "left_knee", "Neck": "upper_neck", "Head": "head_top", "Nose": "nose"}
    world = raw_world.people(tuple(names.values()), 5)
    points = world[..., [1, 2, 0]]  # the file's X, Y, Z are the world's y, z, x
    points[2, 1] = np.nan
    raw_world.write_markers(raw.truth, tuple(names), points, units="m", first=1, scale=0.001)
    truth = prepare(raw, monkeypatch, axes="zxy", frame_offset=-1, origin="peer")
    assert truth.origin == "peer"
    for column, joint in enumerate(names.values()):
        if joint != "nose":
            expected = np.where(np.isnan(points[:, column, :1]), np.nan, world[:, column])
            np.testing.assert_allclose(truth.joints[:, MPII.index(joint)], expected, atol=1e-3)  # mm
    assert np.isnan(truth.joints[:, MPII.index("pelvis")]).all()


def test_frames_that_the_file_lacks_are_nan(raw, monkeypatch):
    raw_world.write_markers(raw.truth, MPII.joint_names, raw_world.people(MPII.joint_names, 5)[3:], first=3)
    truth = prepare(raw, monkeypatch)
    assert np.isnan(truth.joints[:3]).all()
    assert np.isfinite(truth.joints[3:]).all()
    assert np.isnan(truth.head[:3]).all()


def test_a_folder_has_a_file_a_sequence(raw, monkeypatch, capsys):
    folder = raw.root / "truths"
    folder.mkdir()
    raw.truth.rename(folder / "take.trc")
    monkeypatch.setattr(Raw, "truth", folder)
    assert np.isfinite(prepare(raw, monkeypatch).joints).all()
    (folder / "take.trc").rename(folder / "other.trc")
    with pytest.raises(SystemExit):
        prepare(raw, monkeypatch)
    assert "expected <sequence>.trc for take, found none of them" in capsys.readouterr().err


def damage(raw: Raw, what: str) -> None:
    joints = raw_world.people(MPII.joint_names, 5)
    text = raw.truth.read_text()
    match what:
        case "metres":
            raw_world.write_markers(raw.truth, MPII.joint_names, joints, units="mm", scale=0.001)
        case "millimetres":
            raw_world.write_markers(raw.truth, MPII.joint_names, joints, units="m")
        case "units":
            raw.truth.write_text(text.replace("\tmm\t", "\tfeet\t"))
        case "row":
            raw.truth.write_text(text[:-30] + "\n")
        case "cell":
            raw.truth.write_text(text.replace("\t0.0000\t", "\t0.0000\tx", 1))
        case "kind":
            raw.truth.write_text("x,y,z\n1,2,3\n")
        case "numbers":
            raw_world.write_markers(raw.truth, MPII.joint_names, joints, first=100)
        case "names":
            raw_world.write_markers(raw.truth, tuple(f"m{number}" for number in range(16)), joints)
        case "absent":
            raw.truth.unlink()
        case "no rows":
            raw.truth.write_text("\n".join(text.split("\n")[:5]) + "\n\n")


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("metres", "by the limbs the person is 0.001664 m tall, expected 1.2 to 2.3 m"),
        ("millimetres", "by the limbs the person is 1664 m tall"),
        ("units", "Units: expected one of m, cm, mm, got 'feet'"),
        ("row", "line 10: expected 50 columns"),
        ("cell", "line 6: a cell is no number"),
        ("kind", "not a TRC file"),
        ("numbers", "not one joint of"),
        ("names", "no marker is a joint of mpii_16; there are m0, m1"),
        ("absent", "there is no such file"),
        ("no rows", "the file has no frames"),
    ],
)
def test_markers_that_cannot_be_right(raw, monkeypatch, capsys, what, sentence):
    (raw.out / "truth.h5").write_text("earlier")
    damage(raw, what)
    with pytest.raises(SystemExit) as ended:
        raw.prepare_truth(monkeypatch)
    assert ended.value.code == 1
    message = capsys.readouterr().err.strip()
    assert sentence in message
    assert "\n" not in message
    assert (raw.out / "truth.h5").read_text() == "earlier"
