"""The labelled source: single images of single people, all with other clothes, light, camera and place."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

from pipeline.datasets.synthetic import raster
from pipeline.datasets.synthetic.body import ANGLE, Pose, pose_body, sample_body
from pipeline.datasets.synthetic.figure import box, person_shapes, plain, sample_appearance, shadow_of
from pipeline.datasets.synthetic.look import grain
from pipeline.datasets.synthetic.motion import ACTIONS, SEATED, sample_key_pose
from pipeline.geometry.camera import Camera

SIDE = 256  # px of every image
_SHADOW_HALF, _SHADOW_CELLS = 3000.0, 200  # mm, half the side of the shadow map
_MPII_SCALE, _MPII_DROP, _MPII_GROW = (
    200.0,
    15.0,
    1.25,
)  # readers widen the box by 1.25 and move it down by 15 scale px
_OFTEN = {"walk": 4, "stand": 4, "reach": 2, "wave": 1.5, "point": 1.5, "stretch": 1.2, "phone": 1, "lunge": 1,
          "kick": 0.8, "sit": 0.7, "sit_and_talk": 0.7, "crouch": 0.5, "bend": 0.5}  # fmt: skip
_UPPER_NECK, _HEAD_TOP = 8, 9


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """One labelled image. px: 0-based.

    Attributes:
        image: (SIDE, SIDE, 3) uint8, BGR.
        quality: of its JPEG.
        keypoints: (16, 2) px, with an annotator's error.
        inside: (16,) bool, the keypoint is inside the image.
        true_keypoints: (16, 2) px, without that error.
        joints: (16, 3) world mm, of which they are the projections.
        camera: that took the image.
        box: centre x, centre y and side of the person's square, px.
        person: (SIDE, SIDE) bool, the visible person.
    """

    image: np.ndarray
    quality: int
    keypoints: np.ndarray
    inside: np.ndarray
    true_keypoints: np.ndarray
    joints: np.ndarray
    camera: Camera
    box: np.ndarray
    person: np.ndarray

    def record(self, name: str) -> dict:
        """Return the annotation as MPII publishes it: 1-based, the box as a centre and a scale."""
        scale = self.box[2] / (_MPII_SCALE * _MPII_GROW)
        centre = self.box[:2] - [0.0, _MPII_DROP * scale] + 1
        keypoints = np.where(self.inside[:, None], self.keypoints + 1, -1.0)
        return {
            "image": name,
            "center": [round(float(v), 3) for v in centre],
            "scale": round(float(scale), 6),
            "joints": [[round(float(v), 3) for v in joint] for joint in keypoints],
            "joints_vis": [int(v) for v in self.inside],
        }

    def head_box(self) -> np.ndarray:
        """Return (2, 2) px, 1-based: x1 y1 and x2 y2 of a box around the head, in MPII's convention."""
        neck, top = self.true_keypoints[_UPPER_NECK], self.true_keypoints[_HEAD_TOP]
        middle, length = (neck + top) / 2, np.linalg.norm(top - neck)
        # The published head boxes have a diagonal of about the head's length over 0.6.
        half = length / 0.6 / (2 * np.sqrt(2))
        return np.stack([middle - half, middle + half]) + 1


def photograph(seed: int, number: int) -> Photograph:
    """Return the `number`-th image of the source; equal arguments give an equal image anywhere."""
    rng = np.random.default_rng([seed, 1, number])
    body = sample_body(rng)
    looks = sample_appearance(rng, body)
    often = np.array([_OFTEN[action] for action in ACTIONS])
    action = ACTIONS[rng.choice(len(ACTIONS), p=often / often.sum())]
    angles = sample_key_pose(rng, action)
    # Photographs are mostly frontal; the camera stays on +y and the person turns.
    angles[ANGLE["root_yaw"]] = rng.normal(0, 50) if rng.random() < 0.8 else rng.uniform(-180, 180)
    pose = pose_body(body, angles, np.zeros(2))
    joints = pose.joints()
    camera, box = _camera(rng, joints)
    lamp = _lamp(rng)

    background, rays = _place(rng, camera, pose, lamp)
    shapes, materials = person_shapes(body, looks, pose)
    if action in SEATED:
        seat, cover = _stool(rng, pose)
        shapes, materials = (np.concatenate([seat, shapes]), np.concatenate([cover, materials]))
    colour = np.repeat(np.repeat(background, 2, axis=0), 2, axis=1)
    depth = np.full((2 * SIDE, 2 * SIDE), 1e7, np.float32)  # the background hides no part of the person
    owner = np.zeros((2 * SIDE, 2 * SIDE), np.uint8)
    raster.draw(
        colour,
        depth,
        owner,
        rays=rays,
        corner=(-0.25, -0.25),
        step=0.5,
        shapes=shapes,
        materials=materials,
        lamp=lamp,
        camera=camera,
    )
    image = cv2.resize(colour, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    person = cv2.resize((owner == raster.PERSON).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA) > 0.5
    if rng.random() < 0.2:
        _in_front(rng, image, person, box)
    image = _develop(rng, image)

    true_keypoints = camera.project(joints)
    marked = true_keypoints + rng.normal(0, 0.006 * box[2], size=true_keypoints.shape)
    inside = np.all((marked >= 0) & (marked <= SIDE - 1), axis=-1)
    quality = int(rng.integers(30, 91)) if rng.random() < 0.3 else 92
    return Photograph(
        image=image,
        quality=quality,
        keypoints=marked,
        inside=inside,
        true_keypoints=true_keypoints,
        joints=joints,
        camera=camera,
        box=box,
        person=person,
    )


def _camera(rng: np.random.Generator, joints: np.ndarray) -> tuple[Camera, np.ndarray]:
    """Draw a camera that frames the person as photographs do, and return it with the person's square box."""
    distance, height = rng.uniform(2600, 7000), np.clip(rng.normal(1550, 380), 500, 2600)
    centre = np.array([0.0, distance, height])
    middle = (joints.min(axis=0) + joints.max(axis=0)) / 2
    forward = middle - centre
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    roll = np.deg2rad(rng.normal(0, 6))
    turned = np.stack([np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right, forward])
    plain = Camera(name="photograph", size=(SIDE, SIDE), K=np.eye(3), R=turned, centre=centre, distortion=np.zeros(5))
    projected = plain.project(joints)  # at a focal length of 1
    low, high = projected.min(axis=0), projected.max(axis=0)
    side = (high - low).max() * 1.22 * np.exp(rng.normal(0, 0.09))
    box_centre = (low + high) / 2 + rng.normal(0, 0.045, size=2) * side
    box_side = rng.uniform(178, 202)
    if rng.random() < 0.08:  # a close-up: the image's border cuts the person
        box_side = 200 / rng.uniform(0.6, 0.85)
        box_centre[1] -= rng.uniform(0, 0.12) * side
    focal = box_side / side
    # The box is not in the middle of the image.
    offset = (SIDE - 1) / 2 + rng.normal(0, 9, size=2).clip(-22, 22)
    principal = offset - focal * box_centre
    matrix = np.array([[focal, 0, principal[0]], [0, focal, principal[1]], [0, 0, 1]])
    return Camera(
        name="photograph", size=(SIDE, SIDE), K=matrix, R=turned, centre=centre, distortion=np.zeros(5)
    ), np.array([*offset, box_side])


def _lamp(rng: np.random.Generator) -> np.ndarray:
    towards = np.array([rng.normal(0, 0.8), rng.normal(0.5, 0.7), abs(rng.normal(0.9, 0.4)) + 0.25])
    warm = rng.normal(0, 0.06)
    return raster.light(
        towards,
        1.25 * np.array([1 + warm, 1, 1 - warm]),
        1.05 * np.array([1 - warm / 2, 1, 1 + warm / 2]),
        rng.uniform(0.3, 0.75),
    )


def _place(rng: np.random.Generator, camera: Camera, pose: Pose, lamp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the background: a floor with the person's shadow and a cluttered wall or a far view.

    Returns:
        (SIDE, SIDE, 3) float32 RGB, (2 SIDE, 2 SIDE, 2) rays of the fine grid.
    """
    rays = raster.rays_of(camera, (-0.25, -0.25), (2 * SIDE, 2 * SIDE), 0.5)
    far = rng.uniform(900, 6000)  # mm from the person to the wall
    has_floor = bool(rng.random() < 0.8)
    colours = rng.uniform(0.05, 0.95, size=(2, 3))
    grey = rng.uniform(0.2, 0.9)
    colours = colours * (1 - grey) + grey * colours.mean(axis=1, keepdims=True)
    ground = rng.uniform(0.08, 0.8) * (1 + rng.normal(0, 0.08, size=3)).clip(0.7, 1.3)
    slope, tile, seam, kind = rng.uniform(2000, 6000), rng.uniform(250, 1500), rng.uniform(0.75, 1.0), rng.random()
    cast = shadow_of(pose, lamp["towards"], np.zeros(2), _SHADOW_HALF, _SHADOW_CELLS)
    image, cells = _wall_and_floor(
        rays, camera.R, camera.centre, far, has_floor, colours, ground, slope, tile, seam, kind
    )
    coarse_noise = _texture(rng, 8) * np.float32(rng.uniform(0.03, 0.25))
    coarse_noise += _texture(rng, 48) * np.float32(rng.uniform(0, 0.15))
    image *= (1 + coarse_noise)[..., None]
    image = _clutter(rng, image)
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.6, 2.5)))
    if has_floor:
        dark = cv2.remap(cast, cells[..., 0], cells[..., 1], cv2.INTER_LINEAR, borderValue=0.0)
        image *= (1 - dark * np.float32(rng.uniform(0.35, 0.7)))[..., None]
    return image, rays


@njit(cache=True)
def _wall_and_floor(rays, turned, centre, far, has_floor, colours, ground, slope, tile, seam, kind):
    """Return the empty background, (SIDE, SIDE, 3), and each pixel's place in the shadow map, (SIDE, SIDE, 2)."""
    image = np.empty((SIDE, SIDE, 3), np.float32)
    cells = np.full((SIDE, SIDE, 2), -1e4, np.float32)
    for row in range(SIDE):
        for column in range(SIDE):
            u, v = rays[2 * row, 2 * column, 0], rays[2 * row, 2 * column, 1]
            x = turned[0, 0] * u + turned[1, 0] * v + turned[2, 0]
            y = turned[0, 1] * u + turned[1, 1] * v + turned[2, 1]
            z = turned[0, 2] * u + turned[1, 2] * v + turned[2, 2]
            wall = (-far - centre[1]) / min(y, -1e-3)
            floor = -centre[2] / z if z < -1e-3 else 1e9
            if has_floor and floor < wall:
                x, y = centre[0] + floor * x, centre[1] + floor * y
                i, j = math.floor(x / tile), math.floor(y / tile)
                across, along = x / tile - i, y / tile - j
                shade = 1.0
                if kind < 0.4:  # tiles
                    shade = seam if min(across, along) < 0.03 else 1.0
                elif kind < 0.7:  # boards
                    shade = seam if across < 0.04 else 1.0
                elif kind > 0.85 and (i + j) % 2 == 0:  # a chequered floor
                    shade = 0.8
                for channel in range(3):
                    image[row, column, channel] = ground[channel] * shade
                cells[row, column, 0] = (x + _SHADOW_HALF) * (_SHADOW_CELLS / (2 * _SHADOW_HALF)) - 0.5
                cells[row, column, 1] = (y + _SHADOW_HALF) * (_SHADOW_CELLS / (2 * _SHADOW_HALF)) - 0.5
            else:
                high = min(1.0, max(0.0, 0.5 + (centre[2] + wall * z - 1000.0) / slope))
                for channel in range(3):
                    image[row, column, channel] = colours[0, channel] * high + colours[1, channel] * (1.0 - high)
    return image, cells


def _texture(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Draw a (SIDE, SIDE) smooth random field in about [-1, 1]."""
    coarse = rng.uniform(-1, 1, size=(cells, cells)).astype(np.float32)
    return cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def _clutter(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Return the background with windows, posters, posts, furniture and plants as flat shapes."""
    made = image.copy()
    for _ in range(rng.poisson((1, 4, 10)[rng.integers(3)])):
        colour = rng.uniform(0.03, 0.97, size=3)
        colour = colour * 0.5 + colour.mean() * 0.5 if rng.random() < 0.6 else colour
        x, y = rng.uniform(-20, SIDE + 20, size=2)
        wide, high = rng.uniform(8, 90, size=2)
        layer = made if rng.random() < 0.6 else made.copy()
        kind, tint = rng.integers(5), tuple(float(v) for v in colour)
        if kind == 0:
            cv2.rectangle(layer, (int(x), int(y)), (int(x + wide), int(y + high)), tint, -1)
        elif kind == 1:
            cv2.ellipse(
                layer, (int(x), int(y)), (int(wide / 2), int(high / 2)), float(rng.uniform(0, 180)), 0, 360, tint, -1
            )
        elif kind == 2:
            cv2.rectangle(layer, (int(x), 0), (int(x + 4 + wide / 4), SIDE), tint, -1)
        elif kind == 3:
            ends = rng.uniform(-20, SIDE + 20, size=(2, 2)).astype(int)
            cv2.line(layer, tuple(map(int, ends[0])), tuple(map(int, ends[1])), tint, int(rng.integers(2, 14)))
        else:
            points = (np.array([x, y]) + rng.normal(0, 35, size=(5, 2))).astype(np.int32)
            cv2.fillPoly(layer, [cv2.convexHull(points)], tint)
        if layer is not made:
            made = 0.45 * made + 0.55 * layer
    return made


def _in_front(rng: np.random.Generator, image: np.ndarray, person: np.ndarray, box: np.ndarray) -> None:
    """Put one or two things in front of the person, in place; they hide up to a third of the box."""
    for _ in range(rng.integers(1, 3)):
        x, y = box[:2] + rng.uniform(-0.5, 0.5, size=2) * box[2]
        wide, high = rng.uniform(0.08, 0.28, size=2) * box[2]
        tint = tuple(float(v) for v in rng.uniform(0.05, 0.9) * (1 + rng.normal(0, 0.2, size=3)).clip(0.3, 1.5))
        mask = np.zeros((SIDE, SIDE), np.uint8)
        if rng.random() < 0.5:
            cv2.rectangle(mask, (int(x - wide / 2), int(y)), (int(x + wide / 2), int(y + high)), 1, -1)
        else:
            cv2.ellipse(
                mask, (int(x), int(y)), (int(wide / 2), int(high / 2)), float(rng.uniform(0, 180)), 0, 360, 1, -1
            )
        covered = mask > 0
        image[covered] = np.array(tint) * (1 + 0.15 * _texture(rng, 12)[covered][:, None])
        person[covered] = False


def _develop(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Return the camera's image of a scene, (SIDE, SIDE, 3) uint8 BGR: exposure, contrast, colours, blur and noise."""
    gain, contrast, saturation = (
        np.exp(rng.normal(0.05, 0.15)),
        np.exp(rng.normal(0, 0.16)),
        max(0.0, rng.normal(1, 0.25)),
    )
    cast, gamma = rng.normal(1, 0.04, size=3), np.exp(rng.normal(0, 0.18))
    blur = rng.uniform(0, 0.7) * SIDE / 128
    if blur > 0.25:
        image = cv2.GaussianBlur(image, (0, 0), float(blur))
    strength, bank = rng.uniform(0, 0.025), grain()
    start = int(rng.integers(0, len(bank) - image.size))
    curve = np.linspace(0, 1, 4097) ** gamma
    return _print(image, gain, contrast, saturation, cast, curve, bank[start : start + image.size], strength)


@njit(cache=True)
def _print(image, gain, contrast, saturation, cast, curve, noise, strength):
    made = np.empty(image.shape, np.uint8)
    middle = 0.0
    for row in range(SIDE):
        for column in range(SIDE):
            for channel in range(3):
                middle += min(1.2, image[row, column, channel] * gain) * cast[channel]
    middle /= image.size
    for row in range(SIDE):
        for column in range(SIDE):
            luma = 0.0
            for channel in range(3):
                value = min(1.2, image[row, column, channel] * gain) * cast[channel]
                luma += (value - middle) * contrast + middle
            luma /= 3.0
            for channel in range(3):
                value = min(1.2, image[row, column, channel] * gain) * cast[channel]
                value = (value - middle) * contrast + middle
                value = curve[int(4096.0 * min(1.0, max(0.0, luma + (value - luma) * saturation)) + 0.5)]
                value += strength * noise[(row * SIDE + column) * 3 + channel]
                made[row, column, 2 - channel] = np.uint8(min(1.0, max(0.0, value)) * 255.0 + 0.5)
    return made


def _stool(rng: np.random.Generator, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Draw a seat: a box under the pelvis."""
    pelvis = pose.points["pelvis"]
    top = max(120.0, min(pelvis[2], pose.points["right_knee"][2], pose.points["left_knee"][2]) - 100)
    back = pose.frames["pelvis"] @ np.array([0, -60.0, 0])
    colour = rng.uniform(0.1, 0.7) * (1 + rng.normal(0, 0.15, size=3)).clip(0.5, 1.4)
    half = np.array([rng.uniform(190, 280), rng.uniform(190, 230), top / 2])
    yaw = float(np.rad2deg(np.arctan2(-back[0], back[1]))) + 180
    shape, cover = box(np.array([*(pelvis + back)[:2], top / 2]), half, plain(colour, grain=0.2), yaw)
    return shape[None], cover[None]
