"""The published ideas at a small size: the benchmark runs, its sets are as they claim, and its words follow its numbers."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import published, published_sets
from pipeline import params
from pipeline.datasets.h36m import persons
from pipeline.datasets.h36m.selection import H36m
from pipeline.datasets.synthetic.rig import Studio
from pipeline.files.samples import Samples
from stages.synthesize import Synthesize


def idea(**changes) -> published.Idea:
    base = published.Idea(
        part="fusion", title="an idea", metric="jdr_17j", without="a", with_it="b", published="91.1 to 94.7"
    )
    return replace(base, **changes)


def test_an_idea_is_as_published_if_every_seed_gains():
    low, high, mixed = np.array([50.0, 60.0]), np.array([51.0, 66.0]), np.array([51.0, 59.0])
    assert published.verdict(idea(), low, high) == "as published"
    assert published.verdict(idea(), low, mixed) == "not at this size"
    assert published.verdict(idea(), low, low) == "not at this size"
    assert published.verdict(idea(less=True), high, low) == "as published"  # mm
    assert published.verdict(idea(less=True), low, high) == "not at this size"
    assert published.verdict(idea(helps=False), low, mixed) == "as published"  # the paper finds no gain
    assert published.verdict(idea(helps=False), low, high) == "not at this size"


def test_the_table_has_means_ranges_and_paired_differences_of_the_finished_parts():
    rows = {
        seed: {"poseresnet": {"pckh_50": 40.0 + seed}, "mrheat1": {"pckh_50": 43.0 + 2 * seed}, **others}
        for seed in (1, 3)
        for others in [{name: {"pckh_50": 0.0} for name in ("mrfea1",)}]
    }
    lines = published.table({"resolutions": rows}).splitlines()
    assert len(lines) == 2 + 2  # no other part is finished
    assert lines[2].split(" | ")[2:6] == ["42.0 (41.0 to 43.0)", "47.0 (45.0 to 49.0)", "+4.0, +6.0", "as published"]
    assert "not at this size" in lines[3]


def test_the_drawn_rig_is_read_as_human36m_and_every_subject_has_cameras_of_its_own(tmp_path):
    drawn = params.select(Synthesize, params.read(Path("params.yaml")), "synthesize")
    studio = Studio(
        seed=3, num_cameras=4, side_px=128, domain_gap=1.0, look=drawn.look, corruptions=drawn.corruptions,
        frames_per_second=2.5,
    )  # fmt: skip
    published_sets.write_human36m(tmp_path, studio, {1: 1, 9: 2})
    chosen = H36m(train_subjects=(1,), test_subjects=(9,), train_every=1, test_every=1, damaged="included")
    records = persons.read_labelled(tmp_path, chosen)
    assert records.split.tolist() == ["train"] * 4 + ["valid"] * 8
    assert records.space is not None
    assert records.read_image(0).shape == (128, 128, 3)
    inside = (records.keypoints > 0) & (records.keypoints < 127)
    assert inside.mean() > 0.95
    assert not np.allclose(records.space.K[0], records.space.K[4])  # S1's first camera and S9's
    pelvis_to_head = np.linalg.norm(records.space.joints[:, 10] - records.space.joints[:, 0], axis=-1)
    assert ((pelvis_to_head > 400) & (pelvis_to_head < 1000)).all()  # mm


def test_drawn_people_are_in_space_or_in_images_alone(tmp_path):
    for in_space in (True, False):
        published_sets.write_people(tmp_path / "people.h5", 3, train=2, valid=1, in_space=in_space)
        people = Samples.read(tmp_path / "people.h5")
        assert people.split.tolist() == ["train", "train", "valid"]
        assert (people.space is not None) == in_space
        assert np.isfinite(people.keypoints).all() or not in_space
        assert people.image(0).shape == (128, 128, 3)


def test_a_finished_part_is_not_repeated_and_other_sizes_are_another_study(tmp_path, monkeypatch, capsys):
    learned = []

    def part(lab, folder):
        learned.append(lab.seed)
        return {
            "not fused": dict.fromkeys(published._NAMES, 1.0),
            "fused": dict.fromkeys(published._NAMES, 2.0),
        }

    monkeypatch.setitem(published.PARTS, "fusion", part)
    monkeypatch.setattr(published.Lab, "prepare", lambda lab: lab.folder.mkdir(parents=True, exist_ok=True))
    places = {"work": tmp_path / "work", "out": tmp_path / "rows.json", "workers": 1}
    published.study(published.Sizes(), [1], ["fusion"], **places)
    published.study(published.Sizes(), [1, 2], ["fusion"], **places)
    assert learned == [1, 2]
    assert set(published.study(published.Sizes(), [1, 2, 3], ["fusion"], **places, finished=True)["fusion"]) == {1, 2}
    assert learned == [1, 2]
    published.study(published.Sizes(people=9), [1], ["fusion"], **places)
    assert learned == [1, 2, 1]
    written = json.loads((tmp_path / "rows.json").read_text())
    assert written["sizes"]["people"] == 9
    assert [(row["part"], row["seed"]) for row in written["results"]] == [("fusion", 1)]
    assert "+1.0" in capsys.readouterr().out


def test_the_guide_has_the_table_of_the_results():
    guide = Path("docs/guides/published.md").read_text(encoding="utf-8")
    lines = published.table(published.read(Path("benchmarks/results/published.json"))).splitlines()
    assert len(lines) > 2
    assert [line for line in lines if line not in guide] == []


@pytest.mark.slow  # networks are trained
def test_the_quick_form_runs_every_part_and_prints_every_idea(monkeypatch, capsys):
    monkeypatch.setenv("POSE_DEVICE", "cpu")
    monkeypatch.setattr(sys, "argv", ["published", "--quick"])
    published.main()
    told = capsys.readouterr()
    lines = told.out.strip().splitlines()
    assert len(lines) == 2 + len(published.IDEAS)
    assert all("as published" in line or "not at this size" in line for line in lines[2:])
    assert all(f"{part}, seed 11: " in told.err for part in published.PARTS)
    assert "nan" not in told.out
