"""Thirteen everyday actions as random key poses, and smooth sequences of them."""

import numpy as np

from pipeline.datasets.synthetic.body import ANGLE, ANGLES, within_limits

ACTIONS = (
    "walk", "stand", "wave", "reach", "phone", "sit", "sit_and_talk", "crouch", "bend", "stretch", "lunge",
    "kick", "point",
)  # fmt: skip
SEATED = ("sit", "sit_and_talk")
_WALKING = ("walk", "phone")


def sample_key_pose(rng: np.random.Generator, action: str) -> np.ndarray:
    """Draw (27,) deg: a typical pose of an action, facing +y."""
    pose = np.zeros(len(ANGLES))

    def put(name: str, mean: float, spread: float) -> None:
        pose[ANGLE[name]] = rng.normal(mean, spread)

    def rest(side: str) -> None:
        put(f"{side}_shoulder_flex", 2, 7)
        put(f"{side}_shoulder_abduct", 9, 4)
        put(f"{side}_shoulder_turn", 5, 10)
        pose[ANGLE[f"{side}_elbow"]] = abs(rng.normal(16, 9))

    def anywhere(side: str) -> None:
        put(f"{side}_shoulder_flex", 32, 38)
        pose[ANGLE[f"{side}_shoulder_abduct"]] = abs(rng.normal(15, 22))
        put(f"{side}_shoulder_turn", 10, 28)
        pose[ANGLE[f"{side}_elbow"]] = abs(rng.normal(48, 38))

    put("head_yaw", 0, 16)
    put("head_pitch", -3, 9)
    put("head_roll", 0, 5)
    put("lean", 4, 5)
    put("side", 0, 4)
    put("twist", 0, 7)
    for side in ("right", "left"):
        put(f"{side}_hip_flex", 3, 6)
        put(f"{side}_hip_abduct", 4, 3)
        put(f"{side}_hip_turn", -6, 7)
        pose[ANGLE[f"{side}_knee"]] = abs(rng.normal(6, 5))
        (rest if rng.random() < 0.55 else anywhere)(side)
    one, other = ("right", "left") if rng.random() < 0.6 else ("left", "right")
    match action:
        case "wave":
            put(f"{one}_shoulder_flex", 25, 20)
            put(f"{one}_shoulder_abduct", 92, 16)
            put(f"{one}_shoulder_turn", -60, 12)
            put(f"{one}_elbow", 75, 28)
            rest(other)
        case "reach" | "point":
            put(f"{one}_shoulder_flex", 92, 32)
            put(f"{one}_shoulder_abduct", 12, 18)
            pose[ANGLE[f"{one}_elbow"]] = abs(rng.normal(12, 12))
            put("twist", 0, 18)
            put("lean", 10 if action == "reach" else 3, 10)
        case "phone":
            put(f"{one}_shoulder_flex", 45, 10)
            put(f"{one}_shoulder_abduct", 22, 8)
            put(f"{one}_shoulder_turn", 30, 10)
            put(f"{one}_elbow", 132, 7)
        case "sit" | "sit_and_talk":
            put("lean", 8, 9)
            for side in ("right", "left"):
                put(f"{side}_hip_flex", 84, 6)
                put(f"{side}_hip_abduct", 9, 6)
                put(f"{side}_knee", 84, 12)
                if action == "sit":  # hands towards the lap
                    put(f"{side}_shoulder_flex", 22, 9)
                    put(f"{side}_shoulder_turn", 28, 10)
                    put(f"{side}_elbow", 52, 14)
                else:
                    anywhere(side)
        case "crouch":
            depth = rng.uniform(0.4, 1.0)
            put("lean", 38 * depth, 6)
            for side in ("right", "left"):
                put(f"{side}_hip_flex", 103 * depth, 5)
                put(f"{side}_hip_abduct", 12, 6)
                put(f"{side}_knee", 126 * depth, 6)
                put(f"{side}_ankle", 24 * depth, 4)
                put(f"{side}_shoulder_flex", 50, 22)
        case "bend":
            put("lean", 58, 13)
            put("root_pitch", -14, 6)
            put("head_pitch", 8, 10)
            for side in ("right", "left"):
                put(f"{side}_hip_flex", 14, 6)
                put(f"{side}_shoulder_flex", 62, 24)
                pose[ANGLE[f"{side}_elbow"]] = abs(rng.normal(15, 12))
        case "stretch":
            for side in ("right", "left"):
                put(f"{side}_shoulder_flex", 120 if rng.random() < 0.5 else 20, 22)
                put(f"{side}_shoulder_abduct", 70, 30)
                pose[ANGLE[f"{side}_elbow"]] = abs(rng.normal(18, 20))
                put(f"{side}_hip_abduct", 12, 8)
            put("side", 0, 11)
        case "lunge":
            depth = rng.uniform(0.4, 1.0)
            put(f"{one}_hip_flex", 72 * depth, 8)
            put(f"{one}_knee", 78 * depth, 8)
            put(f"{other}_hip_flex", -20 * depth, 4)
            put(f"{other}_knee", 38 * depth, 10)
            put(f"{other}_ankle", 15, 5)
            anywhere(one)
            anywhere(other)
        case "kick":
            put(f"{one}_hip_flex", 45, 26)
            pose[ANGLE[f"{one}_knee"]] = abs(rng.normal(28, 24))
            put("lean", -4, 6)
            put(f"{other}_shoulder_flex", 40, 20)
            put(f"{one}_shoulder_abduct", 35, 15)
    if action in _WALKING:
        pose = _stride(
            rng,
            pose,
            np.array(rng.uniform(0, 2 * np.pi)),
            hips=rng.uniform(20, 32),
            arms=rng.uniform(12, 32),
            action=action,
        )
    return within_limits(pose)


def _stride(
    rng: np.random.Generator, pose: np.ndarray, phase: np.ndarray, *, hips: float, arms: float, action: str
) -> np.ndarray:
    """Return (..., 27) poses with the legs, and the swing of the arms, of a gait at (...) phases in radians."""
    pose = pose.copy()
    for side, shift in (("right", 0.0), ("left", np.pi)):
        q = phase + shift
        pose[..., ANGLE[f"{side}_hip_flex"]] = 4 + hips * np.sin(q)
        pose[..., ANGLE[f"{side}_knee"]] = 8 + 46 * np.maximum(0, np.sin(q + 1.1)) ** 1.5
        pose[..., ANGLE[f"{side}_ankle"]] = 6 * np.sin(q + 0.4)
        pose[..., ANGLE[f"{side}_hip_abduct"]] = 2
        if action == "walk":
            pose[..., ANGLE[f"{side}_shoulder_flex"]] = 3 - arms * np.sin(q)
            pose[..., ANGLE[f"{side}_shoulder_abduct"]] = 8
            pose[..., ANGLE[f"{side}_elbow"]] = 22 - 0.5 * arms * np.sin(q)
    pose[..., ANGLE["twist"]] = -6 * np.sin(phase)
    return pose


def sample_sequence(rng: np.random.Generator, action: str, frames: int, rate: float) -> np.ndarray:
    """Draw (frames, 27) deg: one action at `rate` frames per second, facing about +y."""
    times = np.arange(frames) / rate
    keys = [0.0]
    while keys[-1] <= times[-1]:
        keys.append(keys[-1] + rng.uniform(0.7, 1.6))
    poses = np.stack([sample_key_pose(rng, action) for _ in keys])
    after = np.clip(np.searchsorted(keys, times, side="right"), 1, len(keys) - 1)
    start, end = np.array(keys)[after - 1], np.array(keys)[after]
    share = (times - start) / (end - start)
    share = (share * share * (3 - 2 * share))[:, None]
    sequence = (1 - share) * poses[after - 1] + share * poses[after]
    if action in _WALKING:
        phase = 2 * np.pi * rng.uniform(0.75, 1.05) * times + rng.uniform(0, 2 * np.pi)
        sequence = _stride(rng, sequence, phase, hips=rng.uniform(20, 32), arms=rng.uniform(12, 32), action=action)
    sway = 6.0 if action in SEATED else 24.0
    slow = 2 * np.pi * rng.uniform(0.04, 0.10) * times + rng.uniform(0, 2 * np.pi)
    sequence[:, ANGLE["root_yaw"]] = rng.normal(0, 22) + sway * np.sin(slow)
    return within_limits(sequence)


def sample_path(rng: np.random.Generator, action: str, frames: int, rate: float) -> np.ndarray:
    """Draw (frames, 2) world mm: the path of the pelvis, within about half a metre of the centre of the stage."""
    times = np.arange(frames)[:, None] / rate
    reach = 0.0 if action in SEATED else (260.0 if action in _WALKING else 60.0)
    speed = 2 * np.pi * rng.uniform(0.05, 0.12, size=2)
    return rng.normal(0, 150, size=2).clip(-320, 320) + reach * np.sin(
        speed * times + rng.uniform(0, 2 * np.pi, size=2)
    )
