"""Rigs of sequences: who saw which frame, and functions of cameras frame by frame."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.files.cameras import read_cameras, read_rigs, write_cameras, write_rigs
from pipeline.files.keys import FrameKeys
from tests.worlds.tiny_world import camera_ring

HERE = camera_ring(3)
THERE = tuple(replace(camera, centre=camera.centre + [100.0, 0.0, 0.0]) for camera in HERE)
VIEWS = tuple(camera.name for camera in HERE)


def keys(*sequences: str) -> FrameKeys:
    names = np.array(sequences)
    return FrameKeys(names, np.arange(len(names)), np.full(len(names), "test"), names)


@pytest.fixture
def path(tmp_path):
    """Two sequences with one rig, one whose cameras stand 100 mm farther."""
    write_rigs(tmp_path / "c.toml", {"a": HERE, "b": THERE, "c": HERE})
    return tmp_path / "c.toml"


def test_sequences_with_the_same_cameras_are_one_group(path):
    groups = read_rigs(path).groups(keys("c", "b", "a", "c", "b"), VIEWS, "x")
    assert sorted(rows.tolist() for rows, _ in groups) == [[0, 2, 3], [1, 4]]
    for rows, cameras in groups:
        expected = THERE if 1 in rows else HERE
        np.testing.assert_allclose([c.centre for c in cameras], [c.centre for c in expected], atol=1e-6)  # mm


def test_each_frame_is_seen_by_its_own_cameras(path):
    rigs, wanted = read_rigs(path), keys("c", "b", "a", "c", "b")
    points = np.random.default_rng(0).uniform(-300, 300, (5, 4, 3))  # mm
    shown, frame = rigs.map_by_rig(
        wanted, VIEWS, "x", lambda rig, p, f: (np.stack([c.project(p) for c in rig], axis=1), f), points, np.arange(5)
    )
    assert frame.tolist() == [0, 1, 2, 3, 4]
    for row, name in enumerate("cbacb"):
        rig = THERE if name == "b" else HERE
        np.testing.assert_allclose(shown[row], [camera.project(points[row]) for camera in rig], atol=1e-6)  # px


def test_one_rig_is_everybodys(tmp_path, path):
    write_cameras(tmp_path / "one.toml", HERE)
    ((rows, _),) = read_rigs(tmp_path / "one.toml").groups(keys("x", "y"), VIEWS[::-1], "x")
    assert rows.tolist() == [0, 1]
    with pytest.raises(ValueError, match="holds 2 rigs, of a, b, c; expected one"):
        read_cameras(path)
    with pytest.raises(ValueError, match="x: there is no calibration of the sequence 'd'"):
        read_rigs(path).groups(keys("a", "d"), VIEWS, "x")
