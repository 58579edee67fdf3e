# ruff: noqa: E501 - a row of the table is a line
"""Outputs, keys and sizes of the published networks, from models.md appendix B: weights are filled by the name of their key."""

import zlib

import numpy as np
import pytest
import torch

from pipeline.models.direct import DirectPose
from pipeline.models.fusion import CrossViewFusion, memory
from pipeline.models.hourglass import StackedHourglass
from pipeline.models.hrnet import HRNet
from pipeline.models.integral import IntegralPose, soft_argmax
from pipeline.models.kinematic import BONES, KinematicPose, forward_kinematics
from pipeline.models.mobilenetv2 import PoseMobileNetV2
from pipeline.models.mrfea import MRFeaNet
from pipeline.models.mrheat import MRHeatNet
from pipeline.models.network import PoseNetwork
from pipeline.models.poseresnet import PoseResNet
from pipeline.models.resnet import DEPTHS
from tests.worlds.networks import no_draws, undrawn


class Same(PoseNetwork):
    """A network whose heatmaps are its input."""

    def forward(self, images):
        return images


def fill(model, published=lambda key: key):
    """Fill a network with reproducible weights: normal numbers seeded by the key of the published code."""
    state = {}
    for key, value in model.state_dict().items():
        name, shape = published(key), tuple(value.shape)
        a = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
        if name.endswith("num_batches_tracked"):
            a = np.zeros(shape)
        elif name.endswith("running_var"):
            a = 0.5 + np.abs(a)
        elif name.endswith("running_mean"):
            a = 0.1 * a
        elif len(shape) >= 2:
            a = a * np.sqrt(2 / np.prod(shape[1:]))
        else:
            a = 1 + 0.1 * a if name.endswith("weight") else 0.1 * a
        state[key] = torch.from_numpy(np.asarray(a))
    model.double().load_state_dict(state)
    return model.eval()


def images(height, width):
    return torch.from_numpy(np.random.RandomState(20240607).standard_normal((2, 3, height, width)))


def resnet(depth, joints=17, **options):
    return PoseResNet(joints, *DEPTHS[depth], **options)


ROWS = {
    "resnet_18": (lambda: resnet(18), 192, -1.2115644886e00, 7.5634453169e00, -8.8402588952e-01, -9.5590767926e00, [309, 2616, 1289, 702]),
    "resnet_34": (lambda: resnet(34), 192, -2.0814461068e01, 1.3799571479e02, -1.7208064001e01, 9.0285733730e01, [1853, 1456, 1649, 2426]),
    "resnet_50": (lambda: resnet(50), 192, -4.3328813214e01, 2.7002768087e02, -3.5557291316e01, -3.6710428694e02, [554, 981, 901, 1282]),
    "resnet_101": (lambda: resnet(101), 192, -2.7979524326e04, 2.0364031115e05, -2.3757554925e04, -1.9648694353e05, [2662, 1672, 1657, 1658]),
    "resnet_152": (lambda: resnet(152), 192, -2.2181741163e07, 1.5169535959e08, -1.8951426609e07, -7.7187892657e07, [716, 1365, 1563, 1282]),
    "resnet_50_caffe": (lambda: resnet(50, style="caffe"), 192, -4.2218706456e01, 2.6456656422e02, -3.6221143449e01, -3.4949404748e02, [554, 1373, 2437, 1650]),
    "resnet_50_mpii": (lambda: resnet(50, 16), 256, -3.6268135616e01, 2.8023510405e02, -3.5748949472e01, -4.8207302824e02, [746, 1813, 2205, 2194]),
    "resnet_50_head": (lambda: resnet(50, deconv_kernels=(3, 2, 4), final_kernel=3), 192, -9.2854214687e00, 2.7403883322e02, -1.8213130831e01, 8.8292456513e01, [2673, 1902, 980, 1413]),
    "mrheat1_50": (lambda: MRHeatNet(1, 17, *DEPTHS[50]), 192, -4.4243413779e01, 4.8115547683e02, -4.4484974794e01, -9.0539583103e02, [1512, 1996, 1558, 1429]),
    "mrheat1_18": (lambda: MRHeatNet(1, 17, *DEPTHS[18]), 192, -1.2386295753e00, 1.2523943545e01, -2.4206607953e00, -3.1699649848e01, [2958, 2478, 1936, 2749]),
    "mrheat2_50": (lambda: MRHeatNet(2, 17, *DEPTHS[50]), 192, -1.1886736373e01, 4.3643759635e02, -9.4607876208e00, -8.0028238767e02, [2680, 2762, 1182, 2521]),
    "mrheat2_18": (lambda: MRHeatNet(2, 17, *DEPTHS[18]), 192, -3.7618023515e-01, 1.1645219527e01, -8.9594828525e-01, -3.8003315844e01, [2348, 2282, 1470, 1419]),
    "mrfea1_50": (lambda: MRFeaNet(1, 17, *DEPTHS[50]), 192, -1.2232611405e01, 1.0221548747e02, -7.8284682362e00, -2.6181287567e01, [1856, 1522, 1360, 2526]),
    "mrfea2_50": (lambda: MRFeaNet(2, 17, *DEPTHS[50]), 192, -6.9070034725e00, 9.3438467972e01, -1.8714396375e01, 2.2874100938e00, [2431, 2231, 2273, 1172]),
    "hrnet_w32": (lambda: HRNet(17, 32), 192, -3.4240473385e06, 1.7629089111e08, 4.8077927314e06, 2.2296539738e08, [1769, 2823, 1419, 481]),
    "hrnet_w48": (lambda: HRNet(17, 48), 192, 2.0667643899e07, 2.3408515796e08, 2.5348229447e07, 2.1858144534e08, [2640, 2257, 2979, 3067]),
    "hrnet_w32_mpii": (lambda: HRNet(16, 32), 256, -1.2905159994e07, 1.9379934593e08, 6.7932046111e06, -1.0218878755e08, [2474, 3767, 1618, 641]),
    "hourglass_1": (lambda: StackedHourglass(17, 1), 192, 4.7445313186e01, 4.7246382668e02, -2.4958176108e02, 1.3267156021e01, [1921, 102, 2299, 2996]),
    "hourglass_2": (lambda: StackedHourglass(16, 2), 256, -9.3964451662e03, 3.1642211428e04, -1.1953260524e04, -3.5603770988e04, [3538, 126, 2936, 4094]),
    "hourglass_8": (lambda: StackedHourglass(17, 8), 192, 8.1730207470e14, 1.9720822420e16, 1.4748193200e16, -4.6683338677e15, [1489, 2381, 627, 2407]),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
@torch.inference_mode()
def test_heatmaps_are_the_published_networks(name):
    make, width, mean, deviation, first, inner, peaks = ROWS[name]
    maps = fill(undrawn(make))(images(256, width))
    height, width = maps.shape[2:]
    found = [maps.mean(), maps.std(correction=0), maps[0, 0, 0, 0], maps[1, -1, height // 2, width // 3]]
    # 1e-9 of the deviation; the table has eleven digits
    tolerance = 1e-9 * deviation
    np.testing.assert_allclose(found, [mean, deviation, first, inner], rtol=1e-10, atol=tolerance)
    assert maps[0, :4].flatten(1).argmax(1).tolist() == peaks


@torch.inference_mode()
def test_integral_regression_gives_the_published_volume_and_coordinates():
    def published(key):
        key = key.replace("head.final_layer", "head.features.9")
        return key.replace("head.deconv_layers", "head.features")

    model = fill(undrawn(lambda: IntegralPose(18, 64, *DEPTHS[50])), published)
    volume = model.volume(images(256, 256))
    found = [volume.mean(), volume.std(correction=0), volume[0, 0, 0, 0], volume[1, -1, 32, 21]]
    np.testing.assert_allclose(
        found, [1.7325584082, 155.35896343, -8.0927131183, -193.76917382], rtol=1e-10, atol=1.5e-7
    )
    assert volume[0, :4].flatten(1).argmax(1).tolist() == [2029, 1698, 3360, 3379]
    joints = soft_argmax(volume, 18, 64).flatten(1)
    first = [-0.1249999978, 0.0625, -0.1406250000, 0.0488643821, 0.1561735157, 0.375]
    np.testing.assert_allclose(joints[0, :6], first, atol=1e-10)
    np.testing.assert_allclose(joints[1, -3:], [0.3124996232, 0.0937497174, 0.3593750000], atol=1e-10)
    assert joints.mean().item() == pytest.approx(0.0741822329, abs=1e-10)


@torch.inference_mode()
def test_direct_regression_gives_the_published_coordinates():
    found = fill(undrawn(lambda: DirectPose(18, *DEPTHS[50])))(images(256, 256)).flatten(1)
    values = [found.mean(), found.std(correction=0), found[0, 0], found[1, -1]]
    np.testing.assert_allclose(
        values, [58.309042688, 421.78287724, 469.56694601, 277.52629751], rtol=1e-10, atol=4.2e-7
    )


@pytest.mark.parametrize(
    ("make", "parameters", "keys"),
    [
        (lambda: resnet(18), 15_376_721, 140),
        (lambda: resnet(34), 25_484_881, 236),
        (lambda: resnet(50), 33_999_697, 338),
        (lambda: resnet(50, 20), 34_000_468, 338),
        (lambda: resnet(101), 52_991_825, 644),
        (lambda: resnet(152), 68_635_473, 950),
        (lambda: HRNet(17, 32), 28_536_113, 1754),
        (lambda: HRNet(16, 48), 63_595_696, 1754),
        (lambda: StackedHourglass(17, 1), 3_587_217, 377),
        (lambda: StackedHourglass(17, 2), 6_731_682, 684),
        (lambda: StackedHourglass(16, 4), 13_018_816, 1298),
        (lambda: StackedHourglass(17, 8), 25_598_472, 2526),
        (lambda: MRHeatNet(1, 17, *DEPTHS[18]), 15_394_809, None),
        (lambda: MRHeatNet(2, 17, *DEPTHS[18]), 15_399_433, None),
        (lambda: MRHeatNet(1, 17, *DEPTHS[50]), 34_017_785, 359),
        (lambda: MRHeatNet(2, 17, *DEPTHS[101]), 53_014_537, 666),
        (lambda: MRHeatNet(2, 16, *DEPTHS[152]), 68_655_824, 972),
        (lambda: MRFeaNet(1, 17, *DEPTHS[50]), 41_341_265, 356),
        (lambda: MRFeaNet(2, 17, *DEPTHS[101]), 99_133_265, 662),
        (lambda: MRFeaNet(2, 16, *DEPTHS[152]), 114_776_656, 968),
        (lambda: PoseMobileNetV2(20), 5_226_260, None),
        (lambda: IntegralPose(18, 64, *DEPTHS[50]), 34_291_392, None),
        (lambda: IntegralPose(18, 72, *DEPTHS[152]), 68_964_176, None),
        (lambda: DirectPose(18, *DEPTHS[50]), 23_618_678, None),
        (lambda: KinematicPose(*DEPTHS[50], outputs=523), 24_579_659, None),
        (lambda: CrossViewFusion(resnet(50, 20), 4, (64, 64)), 235_327_060, 350),
    ],
)
def test_networks_have_the_published_sizes(make, parameters, keys):
    with torch.device("meta"), no_draws():
        model = make()
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert keys is None or len(model.state_dict()) == keys


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_trunk_is_torchvisions(depth):
    models = pytest.importorskip("torchvision.models")
    theirs, ours = getattr(models, f"resnet{depth}")().eval(), undrawn(lambda: resnet(depth)).eval()
    left = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert set(left.unexpected_keys) == {"fc.weight", "fc.bias"}
    assert {key.split(".")[0] for key in left.missing_keys} == {"deconv_layers", "final_layer"}
    image = torch.rand(1, 3, 64, 64)
    x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
    x = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(x))))
    torch.testing.assert_close(ours.pyramid(image)[-1], x)


@torch.inference_mode()
def test_hrnet_is_timms():
    timm = pytest.importorskip("timm")
    theirs, ours = timm.create_model("hrnet_w32").eval(), undrawn(lambda: HRNet(17, 32)).eval()
    known = ours.state_dict().keys()
    state = {key: value for key, value in theirs.state_dict().items() if key in known}
    assert len({key for key in state if not key.startswith("final_layer")}) == 1752
    ours.load_state_dict({**state, **{f"final_layer.{k}": v for k, v in ours.final_layer.state_dict().items()}})
    image = torch.rand(1, 3, 64, 64)
    x = theirs.act1(theirs.bn1(theirs.conv1(image)))
    x = theirs.act2(theirs.bn2(theirs.conv2(x)))
    assert torch.equal(ours(image), ours.final_layer(theirs.stages(x)[0]))


# right leg, left leg, spine neck nose head, left arm, right arm, thorax; mm
STILL = """-84.7,0,0 -84.7,0,-302 -84.7,0,-602 84.7,0,0 84.7,0,-302 84.7,0,-602 0,0,165 0,0,326.6 0,-29,400.06 0,0,466.97
117,0,320.1 117,0,132.94 117,0,-27.66 -117,0,158.5 -117,0,-28.66 -117,0,-189.26 0,0,239.3"""
MOVED = """-82.68946,-6.800208,17.038176 -58.087985,24.599998,-282.315784 -42.181272,139.100918,-559.148794
82.68946,6.800208,-17.038176 -26.123104,169.085248,-247.314946 -131.19673,298.726993,-496.619079
13.935308,.123481,164.410441 27.583463,.244417,325.433027 13.136411,-3.497107,402.987236 14.594011,44.24073,458.095517
142.266406,-17.521997,309.20262 84.465428,-19.632575,131.20414 20.988959,-57.763933,-11.305852
-101.845569,17.880167,167.687298 -110.512238,64.277686,-13.423237 -118.594508,110.19524,-167.106727
20.210419,.179085,238.444959"""


def test_the_kinematic_chain_is_the_published_one():
    bones = torch.tensor(list(BONES.values()), dtype=torch.float64)
    motions = torch.stack([torch.zeros(29), 0.3 * torch.sin(torch.arange(29.0) + 1)]).double()
    motions[1] = 0.3 * torch.sin(torch.arange(29, dtype=torch.float64) + 1)
    found = forward_kinematics(motions, torch.ones(2, dtype=torch.float64), bones, "torso")
    for joints, text in zip(found, (STILL, MOVED), strict=True):
        np.testing.assert_allclose(joints[0], 0)
        np.testing.assert_allclose(joints[1:], [list(map(float, j.split(","))) for j in text.split()], atol=1e-4)


def test_gradients_of_the_chain_and_of_the_expectation_are_those_of_their_values():
    generator = torch.Generator().manual_seed(0)
    motions = torch.randn(2, 29, dtype=torch.float64, generator=generator, requires_grad=True)
    scale = torch.tensor([1e-3, 2e-3], dtype=torch.float64, requires_grad=True)
    bones = torch.tensor(list(BONES.values()), dtype=torch.float64, requires_grad=True)
    for shoulder, translate in (("neck", False), ("torso", True)):
        assert torch.autograd.gradcheck(
            lambda m, s, b, on=shoulder, move=translate: forward_kinematics(m, s, b, on, move), (motions, scale, bones)
        )
    volume = torch.randn(2, 6, 4, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: soft_argmax(v, 2, 3), volume)
    assert torch.autograd.gradcheck(lambda v: soft_argmax(v, 6, 0), volume)


def test_bones_keep_their_length_and_the_right_arm_hangs_on_the_neck():
    motions = torch.randn(5, 29, dtype=torch.float64)
    bones = torch.tensor(list(BONES.values()), dtype=torch.float64)
    joints = forward_kinematics(motions, torch.full((5,), 2.0, dtype=torch.float64), bones)
    for a, b, bone in ((1, 2, "hip_knee"), (5, 6, "knee_ankle"), (14, 15, "shoulder_elbow"), (12, 13, "elbow_wrist")):
        torch.testing.assert_close(
            (joints[:, a] - joints[:, b]).norm(dim=-1), torch.full((5,), 2.0).double() * BONES[bone]
        )
    torch.testing.assert_close((joints[:, 14] - joints[:, 8]).norm(dim=-1), (joints[:, 11] - joints[:, 8]).norm(dim=-1))


@pytest.mark.parametrize("views", [2, 3, 4])
def test_fusion_weighs_a_view_against_the_others_and_does_not_fuse_single_images(views):
    model = CrossViewFusion(Same(), views, (3, 2)).double()
    for layer in model.aggre_layer.aggre:
        layer.weight.data = torch.eye(6, dtype=torch.float64)
    maps = torch.rand(2, views, 3, 2, 3, dtype=torch.float64)
    raw, fused = model(maps, torch.tensor([True, False]))
    others = (maps[0].sum(0) - maps[0, 0]) / (views - 1)
    torch.testing.assert_close(fused[0, 0], 0.4 * maps[0, 0] + 0.6 * others)
    assert torch.equal(fused[1], maps[1]) and torch.equal(raw, maps)


def test_fusion_takes_each_view_through_its_own_layer():
    model = CrossViewFusion(Same(), 3, (2, 1)).double()
    for layer in model.aggre_layer.aggre:
        layer.weight.data.zero_()
    model.aggre_layer.aggre[3].weight.data[1, 0] = 1.0  # of view 1, from view 2: pixel 0 from pixel 1
    maps = torch.rand(1, 3, 1, 1, 2, dtype=torch.float64)
    _, fused = model(maps)
    torch.testing.assert_close(fused[0, 1, 0, 0, 0], 0.4 * maps[0, 1, 0, 0, 0] + 0.3 * maps[0, 2, 0, 0, 1])


def test_the_memory_of_fusion_is_stated():
    assert "201,326,592 parameters, 0.75 GiB" in memory(4, (64, 64))
