"""The published tables of a world whose numbers are known by hand, and of metrics written by hand."""

import csv
import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline import params
from tests.pipeline_graph import ROOT
from tests.stages.test_evaluate import evaluate
from tests.stages.test_evaluate_labels import evaluate_labels
from tests.worlds import published_world, tiny_world
from tools import published_tables


def words(text: str, separator: str | None = None) -> list[str]:
    return text.split(separator)


# The first seed's row without fusion.
SEED_JDR = words(
    "1.000 0.978 0.903 0.853 0.980 0.889 0.799 0.969 0.982 0.984 0.990 0.924 0.869 0.788 0.928 0.861 0.784"
)
COLUMNS = words("root rhip rkne rank lhip lkne lank belly neck nose head lsho lelb lwri rsho relb rwri")
JOINTS = words(
    "pelvis right_hip right_knee right_ankle left_hip left_knee left_ankle spine neck nose head "
    "left_shoulder left_elbow left_wrist right_shoulder right_elbow right_wrist"
)


def write_params(folder: Path, **pseudo: object) -> None:
    values = params.read(ROOT / "params.yaml")
    values["pseudo"].update(pseudo)
    YAML().dump(values, folder / "params.yaml")


def write_metrics(folder: Path, name: str, published: dict[str, object], recipe: str = "damaged_included") -> None:
    file = folder / "metrics/rounds/r1" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"recipe": recipe, recipe: {"coverage": 90.0, "published": published}}))


def rows(file: Path) -> list[dict[str, str]]:
    with file.open() as opened:
        return list(csv.DictReader(opened))


def run(folder: Path, *rounds: str, mpii: tuple[Path, ...] = (), experiments: tuple[Path, ...] = ()) -> Path:
    published_tables.main(rounds or ("r1",), experiments or (folder,), mpii, folder / "tables")
    return folder / "tables"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """An experiment with the numbers of the readmes: the first seed's JDR, the second seed's `mixed` and its pseudo label 1."""
    write_params(
        tmp_path,
        rule="published",
        source="triangulation",
        ransac_inliers=3,
        reproj_threshold_px=10,
        confidence_threshold=0.7,
    )
    numbers = {
        "joints": "union_20",
        "jdr": {joint: 100 * float(share) for joint, share in zip(JOINTS, SEED_JDR, strict=True)},
        "jdr_px": 12.8,
        "jdr_17j": 91.06,
        "mpjpe_abs_dlt_16j_mm": 38.2,
        "mpjpe_abs_dlt_17j_mm": 37.111,
        "mpjpe_abs_rpsm_17j_mm": 30.08,
    }
    shares = {"50": 97.7, "40": 96.7, "30": 94.5, "20": 87.2, "10": 54.4}
    numbers |= {f"box_pckh_{threshold}_15j": value for threshold, value in shares.items()}
    numbers |= {f"box_pckh_{threshold}_16j": value - 1 for threshold, value in shares.items()}
    write_metrics(tmp_path, "evaluate", numbers)
    write_metrics(tmp_path, "evaluate_labels", {"box_pckh_50_16j": 96.7, "visible_percent": 90.0})
    return tmp_path


def test_the_tables_of_the_readmes(published, capsys):
    out = run(published)
    text = capsys.readouterr().out
    assert (out / "tables.md").read_text() == text
    (jdr,) = rows(out / "jdr.csv")
    assert [jdr[column] for column in COLUMNS] == SEED_JDR
    assert jdr["recipe"] == "damaged included, joints union_20, boxes detections, within 12.8 px, mean of 17 joints"
    assert list(jdr)[2:-1] == COLUMNS and jdr["mean"] == "0.911"
    (results,) = rows(out / "results.csv")
    assert results["Triangulate (16j)"] == "38.20" and results["Triangulate (17j)"] == "37.11"
    assert results["RPSM (16j)"] == "" and results["RPSM (17j)"] == "30.08"
    assert [results[column] for column in ("2D (16j)", "2D (15j)")] == ["0.967", "0.977"]
    assert [results[f"PCKh@0.{tenth}"] for tenth in (4, 3, 2, 1)] == ["0.967", "0.945", "0.872", "0.544"]
    assert "| 38.20 | 37.11 | - | 30.08 | 0.967 | 0.977 | 0.967 | 0.945 | 0.872 | 0.544 |" in text
    both = rows(out / "box_pckh.csv")
    assert [row["Arch"].split()[-1] for row in both] == ["(16j)", "(15j)"]
    assert [both[0][f"PCKh@0.{tenth}"] for tenth in (5, 4, 3, 2, 1)] == ["0.967", "0.957", "0.935", "0.862", "0.534"]
    (labels,) = rows(out / "pseudo_labels.csv")
    assert list(labels.values())[2:] == ["3", "10", "0.7", "0.967", "0.900"]
    assert labels["recipe"].endswith("rule published, source triangulation")
    assert "MPII: no table, because no --mpii names metrics" in text


def test_the_ablation_has_a_row_per_experiment(published, tmp_path_factory, capsys):
    other = tmp_path_factory.mktemp("unfiltered")
    write_params(other, ransac=False, confidence_threshold=0.0)
    write_metrics(other, "evaluate", {"joints": "mpii_16", "jdr": {"pelvis": 90.0}, "jdr_px": 12.8})
    write_metrics(other, "evaluate_labels", {"box_pckh_50_16j": 90.4, "visible_percent": 100.0})
    out = run(published, experiments=(other, published))
    text = capsys.readouterr().out
    unfiltered, filtered = rows(out / "pseudo_labels.csv")
    assert list(unfiltered.values())[2:] == ["", "", "", "0.904", "1.000"]
    assert "| - | - | - | 0.904 | 1.000 |" in text
    assert unfiltered["Arch"] == f"labels of {other.name} r1" and filtered["Arch"] == f"labels of {published.name} r1"
    assert (
        "box-PCKh and MPJPE of 16 joints need network.skeleton compatible_16, union_20 or h36m_17, and it has mpii_16"
        in text
    )


def test_a_rounds_own_settings_of_labels_are_in_its_row(published):
    values = params.read(published / "params.yaml")
    values["rounds"]["r1"]["pseudo"] = {"ransac_inliers": 4}
    YAML().dump(values, published / "params.yaml")
    (labels,) = rows(run(published) / "pseudo_labels.csv")
    assert labels["RANSAC inliers"] == "4" and labels["proj thresh (px)"] == "10"


def test_mpiis_columns(published):
    joints = words(
        "right_ankle right_knee right_hip left_hip left_knee left_ankle pelvis thorax upper_neck head_top "
        "right_wrist right_elbow right_shoulder left_shoulder left_elbow left_wrist"
    )
    shares = words("0.786 0.843 0.880 0.881 0.830 0.800 0.922 0.984 0.977 0.965 0.838 0.888 0.944 0.956 0.890 0.832")
    values = {f"mpii_pckh_50_{joint}": 100 * float(share) for joint, share in zip(joints, shares, strict=True)}
    (published / "augmented.json").write_text(json.dumps({**values, "mpii_pckh_50_16j": 89.3, "persons": 2958}))
    (row,) = rows(run(published, mpii=(published / "augmented.json",)) / "mpii.csv")
    assert row["Arch"] == "augmented" and row["recipe"] == "2958 persons"
    titles = words(
        "rank,rkne,rhip,lhip,lkne,lank,root,thorax,upper neck,head top,rwri,relb,rsho,lsho,lelb,lwri,mean", ","
    )
    assert [row[title] for title in titles] == [*shares, "0.893"]
    assert list(row)[2:] == titles


def test_from_a_world_to_its_tables(tmp_path, monkeypatch, capsys):
    """The world's errors are in its docstring: the stages measure them, and the program prints them."""
    world = published_world.build(tmp_path)
    evaluate(world, monkeypatch)
    evaluate_labels(world, monkeypatch)
    write_params(tmp_path, source="triangulation")
    out = run(tmp_path)
    (jdr,) = rows(out / "jdr.csv")
    assert jdr["belly"] == "" and jdr["lwri"] == "0.750" and jdr["head"] == "0.000" and jdr["root"] == "1.000"
    both = rows(out / "box_pckh.csv")
    assert [row["PCKh@0.5"] for row in both] == ["0.938", "1.000"]
    assert [row["PCKh@0.4"] for row in both] == ["0.922", "0.983"]
    positions = rows(out / "mpjpe.csv")
    assert [row["16j"] for row in positions[1:]] == ["2.00", "3.00"]
    assert positions[2]["Arch"].endswith("r1, RPSM")
    (labels,) = rows(out / "pseudo_labels.csv")
    assert labels["PCKh@0.5"] == "1.000" and labels["visible percent"] == "0.750"
    assert "17 joints need Human3.6M's spine, which compatible_16 does not have" in capsys.readouterr().out


def test_what_a_run_does_not_have_is_one_sentence(tmp_path, monkeypatch, capsys):
    world = tiny_world.build(tmp_path, rounds=1)
    evaluate(world, monkeypatch)
    evaluate(world, monkeypatch, model="r0")
    write_params(tmp_path)
    with pytest.raises(ValueError, match=r"because its ground truth is not Human3\.6M's") as raised:
        run(tmp_path)
    assert "the round has no pseudo labels" in str(raised.value)
    with pytest.raises(ValueError, match="has no evaluated round 'r7'; it has r0, r1"):
        run(tmp_path, "r7")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other.json: has no mpii_pckh_50_16j; expected the metrics"):
        run(tmp_path, mpii=(tmp_path / "other.json",))
    with pytest.raises(ValueError, match=r"absent.json: not readable as metrics"):
        run(tmp_path, mpii=(tmp_path / "absent.json",))
    assert not (tmp_path / "tables").exists()
    capsys.readouterr()
