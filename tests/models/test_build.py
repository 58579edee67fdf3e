import dataclasses
import re

import pytest
import torch

from pipeline import params
from pipeline.models import build

SMALL = build.Network(
    name="poseresnet",
    block="basic",
    layers=(1, 1, 1, 1),
    width=8,
    deconv_channels=16,
    input_size=64,
    skeleton="mpii_16",
)


def test_a_network_makes_one_map_a_joint_a_quarter_of_its_input():
    maps = build.build(SMALL).eval()(torch.zeros(2, 3, 64, 64))
    assert maps.shape == (2, 16, 16, 16)


@pytest.mark.parametrize(
    ("block", "layers", "parameters"),
    # J = 17, from multiview.md 2.1: ResNet-18, -34 and -50 trunks with three deconvolutions of 256.
    [("basic", (2, 2, 2, 2), 15_376_721), ("basic", (3, 4, 6, 3), None), ("bottleneck", (3, 4, 6, 3), 33_999_697)],
)
def test_the_published_sizes_have_the_published_number_of_parameters(block, layers, parameters):
    network = dataclasses.replace(SMALL, block=block, layers=layers, width=64, deconv_channels=256, skeleton="h36m_17")
    count = sum(p.numel() for p in build.build(network).parameters())
    assert count == (parameters or 25_484_881)


def test_a_saved_network_comes_back_equal_and_the_same_weights_give_the_same_bytes(tmp_path):
    torch.manual_seed(0)
    model = build.build(SMALL)
    build.save(tmp_path / "a.pt", SMALL, model.state_dict())
    build.save(tmp_path / "another_name.pt", SMALL, model.state_dict())
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "another_name.pt").read_bytes()
    network, again = build.load(tmp_path / "a.pt")
    assert network == SMALL
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(model.eval()(image), again(image))


def test_what_is_no_model_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(ValueError, match="there is no such file"):
        build.load(tmp_path / "absent.pt")
    (tmp_path / "text.pt").write_text("not a model")
    with pytest.raises(ValueError, match=r"text\.pt: not a model file"):
        build.load(tmp_path / "text.pt")
    torch.save({"weights": {}}, tmp_path / "foreign.pt")
    with pytest.raises(ValueError, match="not a model file of this project"):
        build.load(tmp_path / "foreign.pt")


class _Malice:
    def __reduce__(self):
        import os

        return os.system, ("touch should_not_exist",)


def test_a_model_file_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"kind": build.KIND, "weights": _Malice()}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match="not a model file"):
        build.load(tmp_path / "evil.pt")
    assert not (tmp_path / "should_not_exist").exists()


def test_weights_of_another_architecture_are_refused(tmp_path):
    wider = dataclasses.replace(SMALL, width=16)
    build.save(tmp_path / "model.pt", SMALL, build.build(wider).state_dict())
    with pytest.raises(ValueError, match="do not fit"):
        build.load(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("key", "value"),
    [("input_size", 100), ("width", 0), ("skeleton", "octopus_8"), ("deconv_kernels", [4] * 6), ("deconv_kernels", [])],
)
def test_a_network_that_cannot_be_is_named(key, value):
    with pytest.raises(ValueError, match=re.escape(str(value))):
        params.build(build.Network, build._plain(build._non_default(SMALL)) | {key: value}, "network")
