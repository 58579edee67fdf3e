import os
from collections import OrderedDict

import numpy as np
import pytest
import torch

from pipeline.models import build
from pipeline.models.checkpoints import ZOO, entry, load_checkpoint, read
from pipeline.models.hrnet import HRNet
from pipeline.models.integral import IntegralPose
from pipeline.models.mobilenetv2 import PoseMobileNetV2
from pipeline.models.mrheat import MRHeatNet
from pipeline.models.poseresnet import PoseResNet

LAYERS = (1, 1, 1, 1)


def thin(joints=17, block="bottleneck", style="pytorch"):
    return PoseResNet(joints, block, LAYERS, 8, 16, style)


def same(one, other):
    return all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


@pytest.mark.parametrize(
    "wrapper", [None, "state_dict", "network", "model", "best_state_dict", "state_dict_base_model"]
)
@pytest.mark.parametrize("prefix", ["", "module.", "model.module."])
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


class _Malice:
    def __reduce__(self):
        return os.mkdir, ("should_not_exist",)


def test_a_checkpoint_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for zipped in (True, False):
        torch.save({"state_dict": _Malice()}, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
        with pytest.raises(ValueError, match=r"evil\.pth: not readable"):
            read(tmp_path / "evil.pth")
    assert not (tmp_path / "should_not_exist").exists()


def refused(path, state, model, sentence, **options):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.save(state, path)
    with pytest.raises(ValueError, match=sentence):
        load_checkpoint(path, model, **options)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in before.items())


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
    volume = IntegralPose(18, 4, "bottleneck", LAYERS, 8, 16)
    load_checkpoint(tmp_path / "resnet.pth", volume, start=True)
    assert torch.equal(volume.backbone.conv1.weight, theirs.conv1.weight)


def test_a_pose_network_starts_one_of_other_joints_or_of_more_resolutions(tmp_path):
    theirs = thin(17)
    torch.save(theirs.state_dict(), tmp_path / "coco.pth")
    report = load_checkpoint(tmp_path / "coco.pth", thin(20), start=True)
    assert report.kept == ("final_layer.bias", "final_layer.weight")
    assert "newly initialised: final_layer" in str(report)
    more = MRHeatNet(1, 17, "bottleneck", LAYERS, 8, 16)
    load_checkpoint(tmp_path / "coco.pth", more, start=True)
    assert torch.equal(more.deconv3[0].weight, theirs.deconv_layers[6].weight)
    with pytest.raises(ValueError, match="can only start"):
        load_checkpoint(tmp_path / "coco.pth", more)


def test_the_published_integral_layout_is_renamed(tmp_path):
    theirs, ours = (IntegralPose(18, 4, "bottleneck", LAYERS, 8, 16) for _ in range(2))
    state = {
        "module." + key.replace("final_layer", "features.9").replace("deconv_layers", "features"): value
        for key, value in theirs.state_dict().items()
    }
    torch.save({"network": state, "epoch": 1}, tmp_path / "model.pth.tar")
    load_checkpoint(tmp_path / "model.pth.tar", ours)
    assert same(theirs, ours)


def test_torchvisions_mobilenet_starts_ours(tmp_path):
    models = pytest.importorskip("torchvision.models")
    theirs, ours = models.mobilenet_v2().eval(), PoseMobileNetV2(17).eval()
    torch.save(theirs.state_dict(), tmp_path / "mobilenet_v2-b0353104.pth")
    load_checkpoint(tmp_path / "mobilenet_v2-b0353104.pth", ours, start=True)
    picture = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(ours.mobilenetv2(picture), theirs.features[:18](picture))


def test_the_older_mobilenet_layout_starts_ours(tmp_path):
    theirs, ours = PoseMobileNetV2(17), PoseMobileNetV2(17)
    state = {k.removeprefix("mobilenetv2."): v for k, v in theirs.state_dict().items() if k.startswith("mobilenetv2.")}
    torch.save(state, tmp_path / "mobilenet_v2.pth.tar")
    load_checkpoint(tmp_path / "mobilenet_v2.pth.tar", ours, start=True)
    assert same(theirs.mobilenetv2, ours.mobilenetv2)


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
            with torch.device("meta"):
                build.build(each.network)


def test_an_entry_knows_what_its_pictures_look_like():
    found = entry("models/pytorch/pose_coco/pose_hrnet_w32_256x192.pth")
    assert found.network.picture_size == (192, 256)
    assert found.network.preprocessing == "imagenet_rgb"
    assert found.shift and found.sigma == 2
    assert entry("pose_mpii/pose_resnet_50_256x192.pth.tar").network.picture_size == (256, 256)
    assert entry("pose_coco/pose_resnet_50_384x288.pth").network.preprocessing == "imagenet_bgr"
    with pytest.raises(ValueError, match="no published checkpoint"):
        entry("pose_coco/unheard_of.pth")
