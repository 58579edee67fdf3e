"""A person's body: its measures, its pose as 27 angles, and its joints in the world.

Person axes: x right, y forward, z up. World: mm, z up. A limb hangs down (0, 0, -1) when its angles are zero.
"""

from dataclasses import dataclass

import numpy as np

JOINTS = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
    "pelvis", "thorax", "upper_neck", "head_top",
    "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
)  # fmt: skip

ANGLES = (
    "root_yaw", "root_pitch", "root_roll", "lean", "side", "twist", "head_yaw", "head_pitch", "head_roll",
    *(
        f"{side}_{name}"
        for side in ("right", "left")
        for name in (
            "hip_flex", "hip_abduct", "hip_turn", "knee", "ankle",
            "shoulder_flex", "shoulder_abduct", "shoulder_turn", "elbow",
        )
    ),
)  # fmt: skip
ANGLE = {name: index for index, name in enumerate(ANGLES)}

# The range of a healthy adult's angles, deg; key poses are clipped to it.
_LIMITS = {
    "lean": (-20, 80), "side": (-25, 25), "twist": (-40, 40),
    "head_yaw": (-65, 65), "head_pitch": (-35, 35), "head_roll": (-20, 20),
    "hip_flex": (-25, 115), "hip_abduct": (-10, 50), "hip_turn": (-35, 35), "knee": (2, 135), "ankle": (-25, 35),
    "shoulder_flex": (-45, 170), "shoulder_abduct": (-5, 120), "shoulder_turn": (-70, 80), "elbow": (2, 145),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Body:
    """Lengths in mm, of one person; `girth` multiplies every thickness."""

    height: float
    girth: float
    female: bool
    half_hips: float
    thigh: float
    shank: float
    foot: float
    ankle_height: float
    loin: float  # pelvis to the waist, where the back bends
    chest: float  # waist to thorax
    neck: float
    head: float  # upper neck to the top of the head
    half_shoulders: float
    upper_arm: float
    forearm: float
    hand: float


def sample_body(rng: np.random.Generator) -> Body:
    """Draw one adult."""
    female = bool(rng.random() < 0.5)
    height = float(np.clip(rng.normal(1640 if female else 1760, 75), 1480, 1930))
    girth = float(np.clip(rng.normal(1.0, 0.12), 0.78, 1.35))

    def length(ratio: float, spread: float) -> float:
        return float(height * ratio * (1 + spread * np.clip(rng.normal(), -2, 2)))

    return Body(
        height=height,
        girth=girth,
        female=female,
        half_hips=length(0.052, 0.05) * (1.06 if female else 0.97),
        thigh=length(0.243, 0.04),
        shank=length(0.242, 0.04),
        foot=length(0.122, 0.05),
        ankle_height=length(0.045, 0.05),
        loin=length(0.115, 0.05),
        chest=length(0.172, 0.05),
        neck=length(0.048, 0.05),
        head=length(0.130, 0.03),
        half_shoulders=length(0.104, 0.05) * (0.95 if female else 1.05),
        upper_arm=length(0.168, 0.04),
        forearm=length(0.148, 0.04),
        hand=length(0.085, 0.04),
    )


def turn(axis: int, degrees: np.ndarray) -> np.ndarray:
    """Return (..., 3, 3) right-handed rotations about the x (0), y (1) or z (2) axis."""
    radians = np.deg2rad(degrees)
    cosine, sine = np.cos(radians), np.sin(radians)
    made = np.zeros((*np.shape(radians), 3, 3))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    made[..., axis, axis] = 1
    made[..., i, i] = made[..., j, j] = cosine
    made[..., i, j], made[..., j, i] = -sine, sine
    return made


def within_limits(angles: np.ndarray) -> np.ndarray:
    """Return (..., 27) deg, clipped to the range of each joint; the root is free."""
    limits = np.array([_LIMITS.get(name.removeprefix("right_").removeprefix("left_"), (-1e9, 1e9)) for name in ANGLES])
    return np.clip(angles, limits[:, 0], limits[:, 1])


@dataclass(frozen=True)
class Pose:
    """A body in the world.

    Attributes:
        points: by name, (..., 3) world mm: the 16 joints, waist, right_toe, left_toe, right_hand, left_hand (finger tips).
        frames: by name, (..., 3, 3) world_from_part: pelvis, waist, chest, head, both thighs, shanks, feet, upper arms and
            forearms.
    """

    points: dict[str, np.ndarray]
    frames: dict[str, np.ndarray]

    def joints(self) -> np.ndarray:
        """Return (..., 16, 3) world mm, in the order of JOINTS."""
        return np.stack([self.points[name] for name in JOINTS], axis=-2)

    def at(self, index: int) -> "Pose":
        """Return the pose of one frame of a sequence."""
        return Pose({k: v[index] for k, v in self.points.items()}, {k: v[index] for k, v in self.frames.items()})


def pose_body(body: Body, angles: np.ndarray, place: np.ndarray) -> Pose:
    """Return the pose of a body that stands on the floor (forward kinematics).

    Args:
        body: its lengths.
        angles: (..., 27) deg, in the order of ANGLES.
        place: (..., 2) world mm, the point of the floor below the pelvis.
    """
    a = {name: angles[..., index] for name, index in ANGLE.items()}
    down, ahead, up = (np.array([0.0, 0, -1]), np.array([0.0, 1, 0]), np.array([0.0, 0, 1]))
    pelvis = turn(2, a["root_yaw"]) @ turn(0, a["root_pitch"]) @ turn(1, a["root_roll"])
    waist = pelvis @ turn(0, -a["lean"] / 2)
    chest = waist @ turn(2, a["twist"]) @ turn(0, -a["lean"] / 2) @ turn(1, a["side"])
    head = chest @ turn(2, a["head_yaw"]) @ turn(0, a["head_pitch"]) @ turn(1, a["head_roll"])
    frames = {"pelvis": pelvis, "waist": waist, "chest": chest, "head": head}
    points = {"pelvis": np.zeros((*np.shape(a["lean"]), 3))}
    points["waist"] = points["pelvis"] + body.loin * (pelvis @ up)
    points["thorax"] = points["waist"] + body.chest * (chest @ up)
    # The neck bends half as much as the head, and sits a little in front of the spine.
    points["upper_neck"] = points["thorax"] + body.neck * (chest @ np.array([0, 0.25, 0.97]))
    points["head_top"] = points["upper_neck"] + body.head * (head @ np.array([0, 0.06, 0.998]))
    for side, sign in (("right", 1.0), ("left", -1.0)):
        hip = points["pelvis"] + pelvis @ np.array([sign * body.half_hips, 0, 0])
        thigh = (
            pelvis
            @ turn(0, a[f"{side}_hip_flex"])
            @ turn(1, -sign * a[f"{side}_hip_abduct"])
            @ turn(2, sign * a[f"{side}_hip_turn"])
        )
        shank = thigh @ turn(0, -a[f"{side}_knee"])
        foot = shank @ turn(0, a[f"{side}_ankle"])
        knee = hip + body.thigh * (thigh @ down)
        ankle = knee + body.shank * (shank @ down)
        toe = ankle + foot @ (0.78 * body.foot * ahead + 0.8 * body.ankle_height * down)
        shoulder = points["thorax"] + chest @ np.array([sign * body.half_shoulders, 0, -0.02 * body.chest])
        # A raised arm lifts its shoulder.
        raised = np.clip(np.maximum(a[f"{side}_shoulder_flex"], a[f"{side}_shoulder_abduct"]) - 60, 0, None) / 110
        shoulder = shoulder + (35 * raised)[..., None] * (chest @ np.array([-0.4 * sign, 0, 1.0]))
        upper_arm = (
            chest
            @ turn(0, a[f"{side}_shoulder_flex"])
            @ turn(1, -sign * a[f"{side}_shoulder_abduct"])
            @ turn(2, sign * a[f"{side}_shoulder_turn"])
        )
        forearm = upper_arm @ turn(0, a[f"{side}_elbow"])
        elbow = shoulder + body.upper_arm * (upper_arm @ down)
        wrist = elbow + body.forearm * (forearm @ down)
        hand = wrist + body.hand * (forearm @ np.array([-0.15 * sign, 0.15, -0.97]))
        for name, point in (
            ("hip", hip), ("knee", knee), ("ankle", ankle), ("toe", toe),
            ("shoulder", shoulder), ("elbow", elbow), ("wrist", wrist), ("hand", hand),
        ):  # fmt: skip
            points[f"{side}_{name}"] = point
        for name, frame in (
            ("thigh", thigh), ("shank", shank), ("foot", foot), ("upper_arm", upper_arm), ("forearm", forearm),
        ):  # fmt: skip
            frames[f"{side}_{name}"] = frame
    lowest = np.min(
        [points[f"{side}_ankle"][..., 2] - 0.9 * body.ankle_height for side in ("right", "left")]
        + [points[f"{side}_toe"][..., 2] - 28 for side in ("right", "left")]
        + [points["pelvis"][..., 2] - 110],
        axis=0,
    )
    shift = np.concatenate([place, -lowest[..., None]], axis=-1)
    return Pose({name: point + shift for name, point in points.items()}, frames)
