"""Kinematic regression (Zhou et al. 2016, "Deep Kinematic Pose Regression"): angles, and the joints computed from them.

The published chain, computed as it was meant: for a whole batch, differentiable, each bone with its own length.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from pipeline.models.direct import MeanHead
from pipeline.models.network import Outputs, PoseNetwork
from pipeline.models.resnet import ResNet

MOTIONS = (
    29  # 0-2 translate the body, 3-5 rotate it, 6-8 the trunk, then hips, knees, shoulders, elbows, neck; 28 is unused
)
PUBLISHED_OUTPUTS = 523  # of which the first 29 are used, and the last as the scale
# mm, in the published order
BONES = {
    "knee_ankle": 300.0,
    "hip_knee": 302.0,
    "pelvis_hip": 84.7,
    "pelvis_torso": 165.0,
    "torso_neck": 161.6,
    "nose_head": 66.91,
    "elbow_wrist": 160.6,
    "shoulder_elbow": 187.16,
    "neck_shoulder_x": 117.0,
    "neck_shoulder_y": 6.5,
    "neck_nose_y": 73.46,
    "neck_nose_z": 29.0,
}
_UNIT = 300.0  # mm
_PER_MM = 1 / 2000  # output units: coordinates are fractions of an image about 2000 mm wide


class KinematicPose(PoseNetwork):
    """Images (batch, 3, height, width) -> coordinates (batch, 18, 3) of h36m_18, relative to the pelvis.

    Args:
        block, layers, width: of the trunk.
        right_shoulder: "neck", or "torso" as the published code has it.
        learn_bones: whether the bones' lengths are parameters.
        translate: whether the first three motions translate the skeleton; the published layer ignores them.
        outputs: 30 numbers are used, the 29 motions and the scale; most of the published network's `PUBLISHED_OUTPUTS` are dead.
        scale: how the last output becomes output units per mm: "exponential", exp(x) / 2000, or "linear", x itself, as the
            published layer has it. A linear scale does not learn: its weights as they are drawn make it hundreds of times too
            large, and one step of Adam moves it by more than all of its value.
    """

    outputs = Outputs(coordinates=True, depth=True, relative=True)

    def __init__(
        self,
        block: str,
        layers: Sequence[int],
        *,
        width: int = 64,
        right_shoulder: Literal["neck", "torso"] = "neck",
        learn_bones: bool = False,
        translate: bool = False,
        outputs: int = MOTIONS + 1,
        scale: Literal["exponential", "linear"] = "exponential",
    ) -> None:
        super().__init__()
        self.right_shoulder, self.translate, self.scale = right_shoulder, translate, scale
        if translate:
            self.outputs = Outputs(coordinates=True, depth=True)
        self.backbone = ResNet(block, layers, width=width)
        self.head = MeanHead(self.backbone.features, outputs)
        shape = torch.tensor(list(BONES.values())) / _UNIT
        self.shape = nn.Parameter(shape) if learn_bones else nn.Buffer(shape, persistent=False)
        if scale == "exponential":
            nn.init.zeros_(self.head.fc.weight[-1:])
            nn.init.zeros_(self.head.fc.bias[-1:])
        else:
            nn.init.constant_(self.head.fc.bias[-1:], _PER_MM)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.head(self.backbone(images))
        bones = self.shape * _UNIT
        scale = x[:, -1].exp() * _PER_MM if self.scale == "exponential" else x[:, -1]
        return forward_kinematics(x[:, :MOTIONS], scale, bones, self.right_shoulder, self.translate)


def forward_kinematics(
    motions: torch.Tensor,
    scale: torch.Tensor,
    bones: torch.Tensor,
    right_shoulder: str = "neck",
    translate: bool = False,
) -> torch.Tensor:
    """Return the joints of a skeleton whose bones are rotated by these angles.

    Args:
        motions: (batch, 29) radians, but for the first three, which move the whole in units of the output.
        scale: (batch,) output units per mm.
        bones: (12,) mm, as `BONES`.
        right_shoulder: what it hangs on, "neck" or "torso".
        translate: whether the first three motions count.

    Returns:
        (batch, 18, 3) of h36m_18, the pelvis at the origin: x, z, y of the chain, in which left is +x and up +y.
    """
    b = dict(zip(BONES, (scale[:, None] * bones).unbind(-1), strict=True))  # (batch,) each
    zero = torch.zeros_like(scale)

    def turn(z: int, x: int, y: int) -> torch.Tensor:
        return _rotation("z", motions[:, z]) @ _rotation("x", motions[:, x]) @ _rotation("y", motions[:, y])

    def go(
        turned: torch.Tensor,
        start: torch.Tensor,
        x: torch.Tensor = zero,
        y: torch.Tensor = zero,
        z: torch.Tensor = zero,
    ) -> torch.Tensor:
        return start + (turned @ torch.stack([x, y, z], -1)[..., None])[..., 0]

    pelvis = motions[:, :3] if translate else torch.zeros_like(motions[:, :3])
    whole = turn(3, 4, 5)
    trunk = whole @ turn(8, 7, 6)
    torso = go(trunk, pelvis, y=b["pelvis_torso"])
    neck = go(trunk, torso, y=b["torso_neck"])
    face = trunk @ turn(25, 26, 27)
    nose = go(face, neck, y=b["neck_nose_y"], z=-b["neck_nose_z"])
    head = go(face, nose, y=b["nose_head"], z=b["neck_nose_z"])
    limbs: dict[str, list[torch.Tensor]] = {}
    for side, sign, hip_at, shoulder_at in (("left", 1, 9, 17), ("right", -1, 13, 21)):
        hip = go(whole, pelvis, x=sign * b["pelvis_hip"])
        thigh = whole @ turn(hip_at, hip_at + 1, hip_at + 2)
        knee = go(thigh, hip, y=-b["hip_knee"])
        ankle = go(thigh @ _rotation("x", motions[:, hip_at + 3]), knee, y=-b["knee_ankle"])
        hangs_on = torso if side == "right" and right_shoulder == "torso" else neck
        shoulder = go(trunk, hangs_on, x=sign * b["neck_shoulder_x"], y=-b["neck_shoulder_y"])
        arm = trunk @ turn(shoulder_at, shoulder_at + 1, shoulder_at + 2)
        elbow = go(arm, shoulder, y=-b["shoulder_elbow"])
        wrist = go(arm @ _rotation("x", motions[:, shoulder_at + 3]), elbow, y=-b["elbow_wrist"])
        limbs[side] = [hip, knee, ankle, shoulder, elbow, wrist]
    left, right = limbs["left"], limbs["right"]
    thorax = (left[3] + right[3]) / 2
    joints = [pelvis, *right[:3], *left[:3], torso, neck, nose, head, *left[3:], *right[3:], thorax]
    return torch.stack(joints, 1)[..., [0, 2, 1]]


def _rotation(axis: str, angle: torch.Tensor) -> torch.Tensor:
    """Return (batch, 3, 3) right-handed rotations by (batch,) radians."""
    c, s, o, i = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    rows = {
        "x": (i, o, o, o, c, -s, o, s, c),
        "y": (c, o, s, o, i, o, -s, o, c),
        "z": (c, -s, o, s, c, o, o, o, i),
    }[axis]
    return torch.stack(rows, -1).reshape(-1, 3, 3)
