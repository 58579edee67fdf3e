"""Marker files: what is written comes back, and damaged ones give a sentence."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.datasets import trc
from pipeline.skeleton import get
from tests.worlds import raw_world

NAMES = get("mpii_16").joint_names


def test_markers_come_back_in_mm(tmp_path: Path):
    points = raw_world.people(NAMES, 5)
    points[2, 3] = np.nan
    for units, scale in (("mm", 1.0), ("cm", 0.1), ("m", 0.001)):
        raw_world.write_markers(tmp_path / "a.trc", NAMES, points, units, first=1, scale=scale)
        found = trc.read(tmp_path / "a.trc")
        assert found.number.tolist() == [1, 2, 3, 4, 5]
        np.testing.assert_allclose(found.points, points, atol=1e-3)  # mm


@given(data=st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_gives_a_sentence_or_finite_markers(tmp_path, data):
    path = tmp_path / "a.trc"
    raw_world.write_markers(path, NAMES, raw_world.people(NAMES, 3))
    raw = path.read_bytes()
    start = data.draw(st.integers(0, len(raw)))
    stop = data.draw(st.integers(start, min(len(raw), start + 60)))
    junk = data.draw(st.sampled_from([b"", b"\t", b"\n", b"inf", b"1e999", b"\xff", b"-", b"9" * 30, b"\0", b"nan"]))
    path.write_bytes(raw[:start] + junk + raw[stop:])
    try:
        found = trc.read(path)
    except ValueError as error:
        refusal = str(error)
    else:
        refusal = str(path)
        assert not np.isinf(found.points).any()
    assert str(path) in refusal


@pytest.mark.parametrize("number", ["9" * 30, "-" + "9" * 30])
def test_a_frame_number_beyond_reason(tmp_path, number):
    path = tmp_path / "a.trc"
    raw_world.write_markers(path, NAMES, raw_world.people(NAMES, 2))
    path.write_text(path.read_text().replace("\n1\t", f"\n{number}\t", 1))
    with pytest.raises(ValueError, match=r"a\.trc: line"):
        trc.read(path)
