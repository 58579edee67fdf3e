import os
from argparse import Namespace
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.models import build
from pipeline.models.checkpoints.load import load_checkpoint, read_tensors
from pipeline.models.checkpoints.start import brings_fusion, start_from
from pipeline.models.checkpoints.zoo import ZOO, ZooEntry, zoo_entry
from pipeline.models.hrnet import HRNet
from pipeline.models.integral import IntegralPose
from pipeline.models.kinematic import KinematicPose
from pipeline.models.mobilenetv2 import PoseMobileNetV2
from pipeline.models.mrheat import MRHeatNet
from pipeline.models.poseresnet import PoseResNet
from tests.pipeline_graph import ROOT
from tests.pipeline_graph import read as read_yaml
from tests.worlds.networks import no_draws

LAYERS = (1, 1, 1, 1)


def thin(joints=17, block="bottleneck", style="pytorch"):
    return PoseResNet(joints, block, LAYERS, width=8, deconv_channels=16, style=style)


def same(one, other):
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[key]) for key, value in one.state_dict().items())


@pytest.mark.parametrize(
    "wrapper", [None, "state_dict", "network", "model", "best_state_dict", "state_dict_base_model", "model_state_dict"]
)
@pytest.mark.parametrize("prefix", ["", "module.", "model.module.", "net._orig_mod."])
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_come_out_of_any_wrapper_prefix_and_age_of_file(tmp_path, wrapper, prefix, zipped):
    theirs, ours = thin(), thin()
    state = OrderedDict((prefix + key, value) for key, value in theirs.state_dict().items() if "num_batches" not in key)
    content = {wrapper: state, "epoch": 3, "perf": np.float64(0.7)} if wrapper else state
    torch.save(content, tmp_path / "model.pth", _use_new_zipfile_serialization=zipped)
    report = load_checkpoint(tmp_path / "model.pth", ours)
    assert same(theirs, ours)
    assert set(report.matched) == {key.removeprefix(prefix) for key in state}
    assert all(key.endswith("num_batches_tracked") for key in report.kept)


def test_an_averaged_model_loads_without_its_counter(tmp_path):
    theirs, ours = thin(), thin()
    averaged = torch.optim.swa_utils.AveragedModel(theirs)
    torch.save({"model_state_dict": averaged.state_dict()}, tmp_path / "ema.pth")
    assert "n_averaged" in averaged.state_dict()
    load_checkpoint(tmp_path / "ema.pth", ours)
    assert same(theirs, ours)


def test_numbers_of_numpy_are_read_and_other_objects_are_named(tmp_path):
    path, state = tmp_path / "model.pth", {"a": torch.zeros(1)}
    for zipped in (True, False):
        for number in (np.float64(0.7), np.int16(3), np.uint8(2), np.float16(1)):
            torch.save({"state_dict": state, "best": number}, path, _use_new_zipfile_serialization=zipped)
            assert list(read_tensors(path)) == ["a"]
        for value, name in ((Namespace(lr=1), "argparse.Namespace"), (np.longdouble(1), "LongDouble|longdouble")):
            torch.save({"state_dict": state, "args": value}, path, _use_new_zipfile_serialization=zipped)
            with pytest.raises(ValueError, match=name) as refusal:
                read_tensors(path)
            sentence = str(refusal.value)
            assert "\x1b" not in sentence and "weights_only" not in sentence and "\n" not in sentence, sentence


class _Malice:
    def __reduce__(self):
        return os.mkdir, ("should_not_exist",)


def test_a_checkpoint_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for zipped in (True, False):
        torch.save({"state_dict": _Malice()}, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
        with pytest.raises(ValueError, match=r"evil\.pth: not readable"):
            read_tensors(tmp_path / "evil.pth")
    assert not (tmp_path / "should_not_exist").exists()


def refused(path, state, model, sentence, **options):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.save(state, path)
    with pytest.raises(ValueError, match=sentence):
        load_checkpoint(path, model, **options)
    after = model.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_what_does_not_fit_is_refused_in_a_sentence_and_changes_nothing(tmp_path):
    path, state = tmp_path / "model.pth", thin().state_dict()
    with pytest.raises(ValueError, match="there is no such file"):
        load_checkpoint(tmp_path / "absent.pth", thin())
    refused(path, state, HRNet(17, 8), "weights of PoseResNet, and the network is a HRNet")
    refused(path, state, thin(16), r"final_layer.* 17.* in it, and 16")
    refused(path, state, thin(block="basic"), "not for this architecture")
    refused(
        path, {k: v for k, v in state.items() if k != "layer3.0.conv2.weight"}, thin(), "lacks layer3.0.conv2.weight"
    )
    refused(path, {**state, "layer3.9.conv2.weight": torch.zeros(1)}, thin(), "has layer3.9.conv2.weight")
    refused(path, {**state, "bn1.bias": torch.full((8,), torch.nan)}, thin(), "bn1.bias is not finite")
    refused(path, {"a": torch.zeros(1)}, thin(), "no known network")
    refused(path, {"state_dict": [1]}, thin(), "expected tensors by name")


def test_a_caffe_file_needs_a_caffe_network(tmp_path):
    state = thin().state_dict()
    refused(tmp_path / "pose_resnet_50_caffe.pth", state, thin(), "stride as in caffe, the network's as in pytorch")
    refused(tmp_path / "pose_resnet_50.pth", state, thin(style="caffe"), "stride as in pytorch")
    refused(tmp_path / "model.pth", state, thin(), "stride as in caffe", style="caffe")
    load_checkpoint(tmp_path / "pose_resnet_50_caffe.pth", thin(style="caffe"))


def test_an_imagenet_file_only_starts_a_training(tmp_path):
    theirs = thin()
    state = {k: v for k, v in theirs.state_dict().items() if k.split(".")[0] not in ("deconv_layers", "final_layer")}
    state |= {"fc.weight": torch.zeros(10, 256), "fc.bias": torch.zeros(10)}
    refused(tmp_path / "resnet.pth", state, thin(), "it can only start a training")
    ours = thin()
    report = load_checkpoint(tmp_path / "resnet.pth", ours, start=True)
    assert report.dropped == ("fc.bias", "fc.weight")
    assert {key.split(".")[0] for key in report.kept} == {"deconv_layers", "final_layer"}
    assert torch.equal(ours.layer4[0].conv3.weight, theirs.layer4[0].conv3.weight)
    volume = IntegralPose(18, 4, "bottleneck", LAYERS, width=8, deconv_channels=16)
    load_checkpoint(tmp_path / "resnet.pth", volume, start=True)
    assert torch.equal(volume.backbone.conv1.weight, theirs.conv1.weight)


def test_a_pose_network_starts_one_of_other_joints_or_of_more_resolutions(tmp_path):
    theirs = thin(17)
    torch.save(theirs.state_dict(), tmp_path / "coco.pth")
    report = load_checkpoint(tmp_path / "coco.pth", thin(20), start=True)
    assert report.kept == ("final_layer.bias", "final_layer.weight")
    assert "newly initialised: final_layer" in str(report)
    more = MRHeatNet(1, 17, "bottleneck", LAYERS, width=8, deconv_channels=16)
    load_checkpoint(tmp_path / "coco.pth", more, start=True)
    assert torch.equal(more.state_dict()["deconv3.0.weight"], theirs.state_dict()["deconv_layers.6.weight"])
    with pytest.raises(ValueError, match="can only start"):
        load_checkpoint(tmp_path / "coco.pth", more)


def test_the_published_integral_layout_is_renamed(tmp_path):
    theirs, ours = (IntegralPose(18, 4, "bottleneck", LAYERS, width=8, deconv_channels=16) for _ in range(2))
    state = {
        "module." + key.replace("final_layer", "features.9").replace("deconv_layers", "features"): value
        for key, value in theirs.state_dict().items()
    }
    torch.save({"network": state, "epoch": 1}, tmp_path / "model.pth.tar")
    load_checkpoint(tmp_path / "model.pth.tar", ours)
    assert same(theirs, ours)


def test_the_published_kinematic_layout_keeps_its_linear_scale_and_its_outputs(tmp_path):
    torch.manual_seed(0)
    theirs = KinematicPose("bottleneck", LAYERS, width=8, right_shoulder="torso", outputs=523, scale="linear").eval()
    state = {f"module.{key}": value for key, value in theirs.state_dict().items()}
    state |= {"module.head.kin_layer.M": torch.eye(4), "module.head.kin_layer.v": torch.zeros(4, 1)}
    state |= {
        "module.head.kin_layer.shape": theirs.shape[:, None],
        "module.head.kin_layer.reorder_idx": torch.arange(3),
    }
    torch.save({"network": state, "epoch": 1}, tmp_path / "model.pth.tar")
    image = torch.rand(2, 3, 64, 64)
    for learn_bones in (False, True):
        ours = KinematicPose("bottleneck", LAYERS, width=8, right_shoulder="torso", learn_bones=learn_bones).eval()
        with pytest.raises(ValueError, match=r"set network\.kinematic_scale to linear"):
            load_checkpoint(tmp_path / "model.pth.tar", ours, start=True)
        load_checkpoint(tmp_path / "model.pth.tar", ours)
        torch.testing.assert_close(ours(image), theirs(image))


def test_a_kinematic_model_of_ours_without_the_key_is_linear(tmp_path):
    linear, theirs = saved(tmp_path / "old.pt", name="kinematic", skeleton="h36m_18")
    assert "kinematic_scale" not in torch.load(tmp_path / "old.pt", weights_only=True)["network"]
    network, model = build.load(tmp_path / "old.pt")
    assert network == linear and network.kinematic_scale == model.scale == "linear"
    image = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(model(image), theirs.eval()(image))
    changes = {"name": "kinematic", "skeleton": "h36m_18", "kinematic_scale": "exponential"}
    saved(tmp_path / "new.pt", **changes)
    assert build.load(tmp_path / "new.pt")[1].scale == "exponential"
    with pytest.raises(ValueError, match=r"its network\.kinematic_scale is linear, that of params.yaml exponential"):
        begun(tmp_path / "old.pt", **changes)


def test_torchvisions_mobilenet_starts_ours(tmp_path):
    models = pytest.importorskip("torchvision.models")
    theirs, ours = models.mobilenet_v2().eval(), PoseMobileNetV2(17).eval()
    torch.save(theirs.state_dict(), tmp_path / "mobilenet_v2-b0353104.pth")
    load_checkpoint(tmp_path / "mobilenet_v2-b0353104.pth", ours, start=True)
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(ours.mobilenetv2(image), theirs.features[:18](image))


def test_the_older_mobilenet_layout_starts_ours(tmp_path):
    theirs, ours = PoseMobileNetV2(17), PoseMobileNetV2(17)
    state = {k.removeprefix("mobilenetv2."): v for k, v in theirs.state_dict().items() if k.startswith("mobilenetv2.")}
    torch.save(state, tmp_path / "mobilenet_v2.pth.tar")
    load_checkpoint(tmp_path / "mobilenet_v2.pth.tar", ours, start=True)
    assert same(theirs.mobilenetv2, ours.mobilenetv2)
    # the newer one has its last convolution beside the features, and its classifier in one layer
    state |= {"conv.0.weight": torch.zeros(1), "conv.1.bias": torch.zeros(1), "classifier.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "newer.pth")
    newer = PoseMobileNetV2(17)
    load_checkpoint(tmp_path / "newer.pth", newer, start=True)
    assert same(theirs.mobilenetv2, newer.mobilenetv2)


def test_an_imagenet_hrnet_starts_ours_without_its_classifier(tmp_path):
    theirs, ours = HRNet(17, 8), HRNet(17, 8)
    state = {k: v for k, v in theirs.state_dict().items() if not k.startswith("final_layer.")}
    state |= {"final_layer.0.weight": torch.zeros(4), "classifier.bias": torch.zeros(3)}
    state |= {"stage4.2.fuse_layers.1.0.0.0.weight": torch.zeros(2)}
    torch.save(state, tmp_path / "hrnet_w32-36af842e.pth")
    report = load_checkpoint(tmp_path / "hrnet_w32-36af842e.pth", ours, start=True)
    assert len(report.dropped) == 3
    assert report.kept == ("final_layer.bias", "final_layer.weight")


def test_every_zoo_entry_is_a_network_that_can_be_built():
    for each in ZOO.values():
        if each.network:
            with torch.device("meta"), no_draws():
                build.build(each.network)


def test_an_entry_has_the_preprocessing_of_its_images():
    entry = zoo_entry("models/pytorch/pose_coco/pose_hrnet_w32_256x192.pth")
    assert entry.network.image_size == (192, 256)
    assert entry.network.preprocessing == "imagenet_rgb"
    assert entry.shift and entry.sigma == 2
    assert zoo_entry("pose_mpii/pose_resnet_50_256x192.pth.tar").network.image_size == (256, 256)
    assert zoo_entry("pose_coco/pose_resnet_50_384x288.pth").network.preprocessing == "imagenet_bgr"
    with pytest.raises(ValueError, match="no published checkpoint"):
        zoo_entry("pose_coco/unheard_of.pth")


def section(**changes):
    fields: dict[str, Any] = {
        "name": "poseresnet",
        "block": "basic",
        "layers": LAYERS,
        "width": 8,
        "deconv_channels": 16,
    }
    return build.Network(**(fields | {"input_size": 64, "skeleton": "mpii_16"} | changes))


def saved(path, **changes):
    torch.manual_seed(5)
    network = section(**changes)
    model = build.build(network)
    build.save(path, network, model.state_dict())
    return network, model


def begun(path, **changes):
    torch.manual_seed(6)
    network = section(**changes)
    fresh, model = build.build(network), build.build(network)
    model.load_state_dict(fresh.state_dict())
    return start_from(path, network, model), fresh, model


def test_a_file_that_says_from_scratch_starts_nothing():
    path = ROOT / read_yaml("params.yaml")["data"]["init"]
    sentence, fresh, model = begun(path)
    assert sentence == ""
    assert same(fresh, model)
    assert not brings_fusion(path)


def test_a_model_of_ours_starts_one_of_the_same_joints_wholly_and_one_of_others_but_for_its_last_layer(tmp_path):
    _, theirs = saved(tmp_path / "model.pt", skeleton="h36m_17")
    sentence, _, model = begun(tmp_path / "model.pt", skeleton="h36m_17")
    assert "tensors loaded" in sentence
    assert same(theirs, model)
    for joints in ("mpii_16", "coco_17"):  # the second has as many joints, others
        sentence, fresh, model = begun(tmp_path / "model.pt", skeleton=joints)
        assert "newly initialised: final_layer" in sentence
        assert torch.equal(model.layer1[0].conv1.weight, theirs.layer1[0].conv1.weight)
        assert torch.equal(model.final_layer.weight, fresh.final_layer.weight)


@pytest.mark.parametrize("name", ["mrheat1", "mrheat2", "direct", "integral", "mobilenetv2"])
def test_every_architecture_starts_one_of_other_joints(tmp_path, name):
    _, theirs = saved(tmp_path / "model.pt", name=name, depth_bins=4)
    sentence, _, model = begun(tmp_path / "model.pt", name=name, depth_bins=4, skeleton="coco_17")
    assert "newly initialised" in sentence
    trunk = next(key for key in theirs.state_dict() if "layer4" in key or "features.5" in key)
    assert torch.equal(model.state_dict()[trunk], theirs.state_dict()[trunk])


def test_another_architecture_is_named(tmp_path):
    saved(tmp_path / "model.pt")
    for changes, key in (
        ({"width": 16}, "width"),
        ({"name": "direct"}, "name"),
        ({"deconv_bias": True}, "deconv_bias"),
    ):
        with pytest.raises(ValueError, match=rf"data\.init: .*network\.{key} is"):
            begun(tmp_path / "model.pt", **changes)
    with pytest.raises(ValueError, match=r"data\.init: .*there is no such file"):
        begun(tmp_path / "absent.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ValueError, match="not readable as a checkpoint"):
        begun(tmp_path / "text.pt")


def test_fusion_starts_from_a_network_of_single_views_and_the_other_way_round(tmp_path):
    _, single = saved(tmp_path / "single.pt")
    _, both = saved(tmp_path / "fused.pt", fusion_views=2)
    torch.save(
        {k: v for k, v in single.state_dict().items() if not k.startswith(("deconv", "final"))}, tmp_path / "r.pth"
    )
    assert [brings_fusion(tmp_path / name) for name in ("single.pt", "fused.pt", "r.pth")] == [False, True, False]
    for name in ("single.pt", "r.pth"):
        _, fresh, model = begun(tmp_path / name, fusion_views=2)
        assert torch.equal(model.resnet.conv1.weight, single.conv1.weight)
        assert torch.equal(model.aggre_layer.aggre[0].weight, fresh.aggre_layer.aggre[0].weight)
    assert same(begun(tmp_path / "fused.pt", fusion_views=2)[2], both)
    assert same(begun(tmp_path / "fused.pt")[2], both.resnet)


def test_a_public_file_of_as_many_other_joints_leaves_the_last_layer_and_warns_of_its_colours(tmp_path, monkeypatch):
    network, theirs = saved(tmp_path / "ours.pt", preprocessing="imagenet_rgb", skeleton="h36m_17")
    monkeypatch.setitem(ZOO, "pose_mpii/known.pth", ZooEntry(path="pose_mpii/known.pth", network=network))
    (tmp_path / "pose_mpii").mkdir()
    torch.save(theirs.state_dict(), tmp_path / "pose_mpii" / "known.pth")
    sentence, fresh, model = begun(tmp_path / "pose_mpii" / "known.pth", skeleton="coco_17")
    assert "saw images as imagenet_rgb, and network.preprocessing is centred" in sentence
    assert torch.equal(model.final_layer.weight, fresh.final_layer.weight)
    assert torch.equal(model.conv1.weight, theirs.conv1.weight)
