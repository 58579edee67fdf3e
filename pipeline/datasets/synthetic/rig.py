"""The unlabelled target: a studio with calibrated cameras, furniture, and subjects who move in it.

World: mm, z up, the floor at 0, the centre of the stage at (0, 0), its front towards +y.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from pipeline.datasets.synthetic import raster
from pipeline.datasets.synthetic.body import ANGLE, Body, Pose, pose_body, sample_body
from pipeline.datasets.synthetic.figure import Appearance, box, person_shapes, plain, sample_appearance, shadow_of
from pipeline.datasets.synthetic.look import (
    Corruptions,
    Exposure,
    Look,
    corrupt,
    expose,
    sample_camera_look,
    sample_corruptions,
)
from pipeline.datasets.synthetic.motion import ACTIONS, SEATED, sample_path, sample_sequence
from pipeline.geometry.camera import Camera

_ROOM = np.array([3400.0, 5600.0, 2800.0])  # half width, half depth, height
_AZIMUTHS = (-78.0, -30.0, 30.0, 78.0, 0.0, -52.0, 52.0, 180.0)  # deg from the front of the stage
_HEIGHTS = (1650.0, 2350.0, 1900.0, 2550.0, 2100.0, 2300.0, 1750.0, 2450.0)
_SHADOW_HALF, _SHADOW_CELLS = 2600.0, 208


@dataclass(frozen=True, kw_only=True)
class Studio:
    """The numbers that all images of one rig share; any process builds the rig from them."""

    seed: int
    num_cameras: int
    side_px: int
    domain_gap: float
    look: Look
    corruptions: Corruptions
    frames_per_second: float


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """One subject from the first to the last frame.

    Attributes:
        body, looks: of the subject.
        pose: of all frames; joints are (frames, 16, 3) world mm.
        seat: (frames,) mm, the height of the chair's seat; NaN without a chair.
        chair: (frames, 3) x mm, y mm and yaw deg of the chair.
    """

    body: Body
    looks: Appearance
    pose: Pose
    seat: np.ndarray
    chair: np.ndarray


@dataclass(frozen=True)
class View:
    """One image of the rig.

    Attributes:
        image: (side_px, side_px, 3) uint8, BGR.
        quality: of its JPEG.
        person: (side_px, side_px) bool, the person's visible pixels, before anything passes in front.
        exposure: how the image was taken.
    """

    image: np.ndarray
    quality: int
    person: np.ndarray
    exposure: Exposure


@lru_cache(maxsize=4)
def cameras_of(studio: Studio) -> tuple[Camera, ...]:
    """Return the cameras: in front of the stage and at its sides, all looking down at people."""
    made = []
    for index in range(studio.num_cameras):
        rng = np.random.default_rng([studio.seed, 2, index])
        round_trip = index // len(_AZIMUTHS)
        azimuth = np.deg2rad(_AZIMUTHS[index % len(_AZIMUTHS)] + 17 * round_trip + rng.uniform(-4, 4))
        radius = rng.normal(4500, 150)
        height = _HEIGHTS[index % len(_HEIGHTS)] + rng.uniform(-60, 60)
        centre = np.array([0.72 * radius * np.sin(azimuth), radius * np.cos(azimuth), height])
        centre[:2] = np.clip(centre[:2], -_ROOM[:2] + 120, _ROOM[:2] - 120)
        target = np.array([*rng.normal(0, 60, size=2), rng.normal(860, 40)])
        forward = (target - centre) / np.linalg.norm(target - centre)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        roll = np.deg2rad(rng.normal(0, 1.2))
        down = np.cross(forward, right)
        turned = np.stack(
            [np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right, forward]
        )
        scale = studio.side_px / 512
        # The cameras at the sides stand nearer, so their lenses are wider: people are equally tall in all views.
        focal = scale * rng.normal(570, 4) * np.hypot(*centre[:2]) / 4500
        principal = (studio.side_px - 1) / 2 + scale * rng.uniform(-4, 4, size=2)
        matrix = np.array([[focal, 0, principal[0]], [0, focal * 1.001, principal[1]], [0, 0, 1.0]])
        # A lens bends by angle; a wider one is bent less per unit of the normalised plane, to stay one-to-one.
        wide = min(1.0, focal / (scale * 570)) ** 2
        distortion = np.array([-0.20 * wide, 0.24 * wide**2, -0.0009, -0.0016, -0.002 * wide**3])
        distortion *= 1 + 0.05 * rng.uniform(-1, 1, size=5)
        made.append(
            Camera(
                name=f"cam_{index:02d}",
                size=(studio.side_px, studio.side_px),
                K=matrix,
                R=turned,
                centre=centre,
                distortion=distortion,
            )
        )
    return tuple(made)


@lru_cache(maxsize=4)
def exposures_of(studio: Studio) -> tuple[Exposure, ...]:
    """Return the constant look of every camera."""
    return tuple(
        sample_camera_look(np.random.default_rng([studio.seed, 3, index]), studio.look, studio.domain_gap)
        for index in range(studio.num_cameras)
    )


@lru_cache(maxsize=16)
def sequence_of(studio: Studio, subject: int, frames: int) -> Sequence:
    """Draw a subject and its motion: all actions one after another, in an order of the subject's own."""
    body = sample_body(np.random.default_rng([studio.seed, 5, subject, 0]))
    looks = sample_appearance(
        np.random.default_rng([studio.seed, 5, subject, 1]), body, studio.domain_gap * studio.look.clothing_dullness
    )
    rng = np.random.default_rng([studio.seed, 5, subject, 2])
    order = rng.permutation(len(ACTIONS))
    borders = np.round(np.linspace(0, frames, len(ACTIONS) + 1)).astype(int)
    angles, places = [], []
    seat, chair = np.full(frames, np.nan), np.zeros((frames, 3))
    for start, end, action in zip(borders[:-1], borders[1:], (ACTIONS[index] for index in order), strict=True):
        if end == start:
            continue
        angles.append(sample_sequence(rng, action, end - start, studio.frames_per_second))
        places.append(sample_path(rng, action, end - start, studio.frames_per_second))
        if action in SEATED:
            pose = pose_body(body, angles[-1], places[-1])
            low = [pose.points[name][:, 2].min() for name in ("pelvis", "right_knee", "left_knee")]
            yaw = float(np.mean(angles[-1][:, ANGLE["root_yaw"]]))
            seat[start:end] = max(180.0, min(low) - 112)
            chair[start:end] = (*places[-1].mean(axis=0), yaw)
    pose = pose_body(body, np.concatenate(angles), np.concatenate(places))
    return Sequence(body=body, looks=looks, pose=pose, seat=seat, chair=chair)


@lru_cache(maxsize=16)
def corruptions_of(studio: Studio, subject: int, frames: int, view: int) -> list:
    """Return the corruption of each frame of one view of one sequence, None without one."""
    rng = np.random.default_rng([studio.seed, 6, subject, view])
    return sample_corruptions(rng, frames, studio.corruptions)


def lamp_of(studio: Studio) -> np.ndarray:
    """Return the studio's light: from above and in front, a little to one side."""
    rng = np.random.default_rng([studio.seed, 7])
    towards = np.array([rng.uniform(-0.5, 0.5), rng.uniform(0.3, 0.6), 0.9])
    bright = 1.2 - 0.12 * studio.domain_gap
    return raster.light(towards, bright * np.array([1.04, 1.0, 0.94]), bright * np.array([0.96, 1.0, 1.05]), 0.45)


def _room_shapes(studio: Studio, own: int) -> tuple[np.ndarray, np.ndarray]:
    """Return floor, walls, boxes, the table and the tripods of all cameras but the view's own (`own`)."""
    rng = np.random.default_rng([studio.seed, 8])
    width, depth, height = _ROOM
    bright = 0.62 - 0.16 * min(1.0, studio.domain_gap)
    parts = []

    def add(centre, half_sizes, material, yaw=0.0):
        parts.append(box(np.array(centre, float), np.array(half_sizes, float), material, yaw))

    tiles = plain(bright * np.array([1.0, 0.97, 0.92]) * rng.uniform(0.9, 1.1), grain=0.10)
    tiles["kind"], tiles["second"], tiles["period"], tiles["phase"] = (raster.TILES, tiles["base"] * 0.82, 600.0, 7.0)
    tiles["numbers"][:2] = (0.72, 0.9)
    add((0, 0, -50), (width, depth, 50), tiles)
    wall = plain(bright * np.array([0.98, 0.97, 1.0]) * rng.uniform(0.85, 1.15, size=3), grain=0.08)
    base = plain(wall["base"] * np.array([0.62, 0.66, 0.72]), grain=0.10)
    for axis, sign in ((0, 1), (0, -1), (1, 1), (1, -1)):
        centre, half = np.zeros(3), np.array([width + 200, depth + 200, height / 2])
        centre[axis], half[axis], centre[2] = (sign * (_ROOM[axis] + 100), 100.0, height / 2)
        add(centre, half, wall)
        centre, half = centre.copy(), half.copy()
        centre[axis], centre[2], half[2] = sign * (_ROOM[axis] + 80), 450.0, 450.0
        add(centre, half, base)
        for place in rng.uniform(-0.8, 0.8, size=3):  # posters and boards
            centre, half = (np.zeros(3), np.array([*rng.uniform(250, 600, size=2), rng.uniform(200, 420)]))
            centre[axis], half[axis] = sign * (_ROOM[axis] - 5), 20.0
            centre[1 - axis], centre[2] = place * _ROOM[1 - axis], rng.uniform(1500, 1900)
            colour = rng.uniform(0.15, 0.85) * (1 + rng.normal(0, 0.25, size=3)).clip(0.3, 1.7)
            add(centre, half, plain(np.clip(colour, 0, 1), grain=0.2))
    add((0, 0, height + 50), (width, depth, 50), plain(np.full(3, 0.75 * bright)))
    for _ in range(14):  # boxes and cupboards along the walls
        axis, end = int(rng.integers(2)), float(rng.choice([-1, 1]))
        half = np.array([*rng.uniform(150, 420, size=2), rng.uniform(200, 900)])
        centre = np.array([*rng.uniform(-0.85, 0.85, size=2) * _ROOM[:2], half[2]])
        centre[axis] = end * (_ROOM[axis] - half[axis] - 30)
        colour = bright * rng.uniform(0.3, 1.2) * (1 + rng.normal(0, 0.22, size=3)).clip(0.4, 1.6)
        near_camera = any(np.linalg.norm(camera.centre[:2] - centre[:2]) < 1000 for camera in cameras_of(studio))
        if not near_camera:
            add(centre, half, plain(np.clip(colour, 0, 1), grain=0.25), float(rng.uniform(-12, 12)))
    wood = plain(np.array([0.46, 0.29, 0.17]) * rng.uniform(0.8, 1.2), grain=0.4)
    wood["pattern"], wood["second"], wood["period"] = (raster.STRIPES, wood["base"] * 0.88, 90.0)
    steel = plain(np.full(3, 0.30), gloss=0.3)
    x, y = float(rng.choice([-1, 1]) * rng.uniform(1150, 1300)), float(rng.uniform(-600, 100))
    add((x, y, 705), (340, 550, 16), wood)
    for along in (-1, 1):
        for across in (-1, 1):
            add((x + across * 300, y + along * 500, 345), (18, 18, 345), steel)
    add((x, y + 180, 850), (25, 230, 130), plain(np.full(3, 0.09), gloss=0.2))  # a screen on the table
    for index, camera in enumerate(cameras_of(studio)):
        if index != own:
            cx, cy, cz = camera.centre
            add((cx, cy, cz / 2 - 80), (22, 22, cz / 2 - 80), plain(np.full(3, 0.10), gloss=0.2))
            add((cx, cy, cz), (60, 80, 55), plain(np.full(3, 0.14), gloss=0.2), float(np.rad2deg(np.arctan2(-cx, cy))))
    return np.array([part[0] for part in parts], raster.SHAPE), np.array([part[1] for part in parts], raster.MATERIAL)


@lru_cache(maxsize=16)
def _empty_room(studio: Studio, view: int) -> tuple[np.ndarray, ...]:
    """Return the room without people, once per camera.

    Returns:
        (side, side, 3) image; twice as fine the (2 side, 2 side) depth in mm and the (2 side, 2 side, 2) rays;
        (side, side, 2) float32 cells of the shadow map that the floor's pixels lie in, far outside the map elsewhere.
    """
    camera, side = cameras_of(studio)[view], studio.side_px
    rays = raster.rays_of(camera, (-0.25, -0.25), (2 * side, 2 * side), 0.5)
    fine = np.zeros((2 * side, 2 * side, 3), np.float32)
    depth = np.full((2 * side, 2 * side), 1e7, np.float32)
    owner = np.zeros((2 * side, 2 * side), np.uint8)
    shapes, materials = _room_shapes(studio, view)
    raster.draw(
        fine,
        depth,
        owner,
        rays=rays,
        corner=(-0.25, -0.25),
        step=0.5,
        shapes=shapes,
        materials=materials,
        lamp=lamp_of(studio),
        camera=camera,
    )
    image = cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA)
    coarse, near = rays[::2, ::2], depth[::2, ::2].astype(np.float64)
    points = (
        np.concatenate([coarse, np.ones_like(coarse[..., :1])], axis=-1) * near[..., None] @ camera.R + camera.centre
    )
    cells = (points[..., :2] + _SHADOW_HALF) * (_SHADOW_CELLS / (2 * _SHADOW_HALF)) - 0.5
    cells[np.abs(points[..., 2]) > 15] = -1e4
    return image, depth, rays, cells.astype(np.float32)


def _chair(seat: float, x: float, y: float, yaw: float) -> tuple[np.ndarray, np.ndarray]:
    wood = plain(np.array([0.42, 0.25, 0.14]), grain=0.4)
    cosine, sine = np.cos(np.deg2rad(yaw)), np.sin(np.deg2rad(yaw))

    def part(dx, dy, z, half):
        return box(
            np.array([x + cosine * dx - sine * dy, y + sine * dx + cosine * dy, z]), np.array(half, float), wood, yaw
        )

    parts = [part(0, -20, seat - 18, (220, 220, 18)), part(0, -235, seat + 270, (205, 14, 110))]
    for dx in (-195, 195):
        parts.append(part(dx, 180, seat / 2 - 18, (18, 18, seat / 2 - 18)))
        parts.append(part(dx, -235, (seat + 380) / 2, (18, 18, (seat + 380) / 2)))
    return np.array([p[0] for p in parts], raster.SHAPE), np.array([p[1] for p in parts], raster.MATERIAL)


def take_view(studio: Studio, subject: int, frames: int, view: int, frame: int) -> View:
    """Return one image of one sequence; equal arguments give an equal image in any process."""
    camera, side = cameras_of(studio)[view], studio.side_px
    room, room_depth, rays, cells = _empty_room(studio, view)
    sequence = sequence_of(studio, subject, frames)
    pose = sequence.pose.at(frame)
    lamp = lamp_of(studio)
    shapes, materials = person_shapes(sequence.body, sequence.looks, pose)
    if np.isfinite(sequence.seat[frame]):
        chair, wood = _chair(float(sequence.seat[frame]), *sequence.chair[frame])
        shapes, materials = (np.concatenate([shapes, chair]), np.concatenate([materials, wood]))

    shadow = shadow_of(pose, lamp["towards"], np.zeros(2), _SHADOW_HALF, _SHADOW_CELLS)
    dark = cv2.remap(shadow, cells[..., 0], cells[..., 1], cv2.INTER_LINEAR, borderValue=0.0)
    scene = room * (1 - 0.55 * dark)[..., None]

    regions = raster.regions_of(shapes, camera)
    left, top = np.clip(np.floor(np.nanmin(regions[:, :2], axis=0)), 0, side - 2).astype(int)
    right, bottom = np.clip(np.ceil(np.nanmax(regions[:, 2:], axis=0)) + 1, [left + 1, top + 1], side).astype(int)
    window = np.s_[top:bottom, left:right]
    fine_window = np.s_[2 * top : 2 * bottom, 2 * left : 2 * right]
    colour = np.repeat(np.repeat(scene[window], 2, axis=0), 2, axis=1)
    depth = room_depth[fine_window].copy()
    owner = np.zeros(depth.shape, np.uint8)
    corner = (left - 0.25, top - 0.25)
    raster.draw(
        colour,
        depth,
        owner,
        rays=rays[fine_window],
        corner=corner,
        step=0.5,
        shapes=shapes,
        materials=materials,
        lamp=lamp,
        camera=camera,
    )
    size = (int(right - left), int(bottom - top))
    scene[window] = cv2.resize(colour, size, interpolation=cv2.INTER_AREA)
    person = np.zeros((side, side), np.float32)
    person[window] = cv2.resize((owner == raster.PERSON).astype(np.float32), size, interpolation=cv2.INTER_AREA)

    exposure = exposures_of(studio)[view]
    corruption = corruptions_of(studio, subject, frames, view)[frame]
    if corruption is not None and studio.domain_gap > 0:
        kind, seed = corruption
        outline = camera.project(pose.joints())
        around = np.concatenate([outline.min(axis=0), outline.max(axis=0)])
        chance = np.random.default_rng([studio.seed, 9, subject, view, frame])
        spell = np.random.default_rng([studio.seed, 12, seed])
        exposure = corrupt(
            exposure,
            kind,
            spell=spell,
            frame=chance,
            box=around,
            severity=studio.domain_gap * studio.corruptions.severity,
        )
    noise = np.random.default_rng([studio.seed, 10, subject, view, frame])
    return View(expose(noise, scene, person, exposure), exposure.quality, person > 0.5, exposure)


def detect(studio: Studio, subject: int, view: int, frame: int, person: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Return the boxes, (4,) px x, y, width, height, and scores of a person detector, with a detector's errors."""
    rng = np.random.default_rng([studio.seed, 11, subject, view, frame])
    chance, shift, grow, score = (
        rng.random(4),
        rng.normal(0, 0.04, size=2),
        rng.normal(0, 0.06, size=2),
        rng.beta(14, 1.6),
    )
    gross, elsewhere = rng.uniform(-1, 1, size=4), rng.uniform(0.05, 0.8, size=4)
    detected = []
    rows, columns = (np.flatnonzero(person.any(axis=1)), np.flatnonzero(person.any(axis=0)))
    if len(rows) and chance[0] >= 0.01:
        low, high = (np.array([columns[0], rows[0]], float), np.array([columns[-1], rows[-1]], float))
        size, centre = high - low + 1, (low + high) / 2
        centre = centre + np.clip(shift, -0.12, 0.12) * size
        size = size * np.exp(np.clip(grow, -0.18, 0.18))
        if chance[1] < 0.025:  # half a person, or a person and the chair
            size = size * np.exp(0.5 * gross[:2])
            centre = centre + 0.25 * gross[2:] * size
            score *= 0.75
        detected.append((np.concatenate([centre - size / 2, size]), float(score)))
    if chance[2] < 0.06:
        size = studio.side_px * np.array([0.10, 0.22]) * (0.6 + elsewhere[:2])
        detected.append((np.concatenate([elsewhere[2:] * studio.side_px, size]), float(0.1 + 0.4 * chance[3])))
    return detected
