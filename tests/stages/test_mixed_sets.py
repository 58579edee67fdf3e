"""From two data sets on the disk to one network: MPII and COCO, prepared, mixed, learned from."""

import json

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipeline import cli
from pipeline.files.samples import Samples
from pipeline.models import build
from stages import prepare_source, pretrain
from tests.pipeline_graph import read
from tests.worlds import people_world


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Both sets' caches in one folder, and params that train a small network on both for a few steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSE_DEVICE", "cpu")
    people_world.write_mpii(tmp_path / "MPII")
    people_world.write_coco(tmp_path / "coco")
    values = read("params.yaml")
    values["runtime"].update(threads=1, precision="float32")
    values["sources"] = {"mpii": {"path": "mpii", "layout": "mpii"}, "coco": {"path": "coco", "layout": "coco"}}
    values["mix"] = {"weights": {"mpii": 1.0, "coco": 3.0}, "epoch": 8}
    values["network"].update(input_size=64, width=8, deconv_channels=8, skeleton="union_20")
    values["pretrain"]["batch_size"] = 4
    values["pretrain"]["schedule"]["steps"] = 6
    YAML().dump(values, tmp_path / "params.yaml")
    for name in ("mpii", "coco"):
        cli.run(
            prepare_source.main,
            argv=["--data", name, "--name", name, "--out", f"sources/{name}.h5", "--metrics", f"{name}.json"],
        )
    return tmp_path


def learn(out):
    cli.run(
        pretrain.main, argv=["--source", "sources", "--out", out, "--metrics", "train.json", "--curve", "curve.csv"]
    )


def test_a_network_of_the_union_learns_from_both(prepared):
    assert [len(Samples.read(prepared / f"sources/{name}.h5")) for name in ("mpii", "coco")] == [4, 4]
    learn("model.pt")
    network, _ = build.load(prepared / "model.pt")
    assert network.skeleton == "union_20"
    found = json.loads((prepared / "train.json").read_text())
    assert np.isfinite(found["loss"])
    assert 0 <= found["source_pckh_50"] <= 100  # of MPII's person
    assert 0 <= found["source_pck_box_5"] <= 100  # of COCO's, who have no head size
    learn("again.pt")
    assert (prepared / "again.pt").read_bytes() == (prepared / "model.pt").read_bytes()


def test_weights_change_what_is_learned_and_a_set_that_is_not_there_is_named(prepared, capsys):
    learn("model.pt")
    values = YAML().load(prepared / "params.yaml")
    values["mix"]["weights"]["coco"] = 1.0
    YAML().dump(values, prepared / "params.yaml")
    learn("other.pt")
    assert (prepared / "other.pt").read_bytes() != (prepared / "model.pt").read_bytes()
    values["mix"]["weights"]["lsp"] = 1.0
    YAML().dump(values, prepared / "params.yaml")
    with pytest.raises(SystemExit):
        learn("third.pt")
    assert "mix.weights.lsp: there is no such set in sources; there is coco, mpii" in capsys.readouterr().err
