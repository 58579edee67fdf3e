"""A dressed person as shapes to draw: skin, hair, face, clothes, shoes, hands."""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from pipeline.datasets.synthetic import raster
from pipeline.datasets.synthetic.body import Body, Pose

_SKIN = np.array(
    [
        [0.93, 0.76, 0.66],
        [0.87, 0.67, 0.54],
        [0.78, 0.57, 0.43],
        [0.64, 0.44, 0.32],
        [0.47, 0.31, 0.23],
        [0.32, 0.21, 0.16],
    ]
)
_HAIR = np.array(
    [
        [0.07, 0.06, 0.06],
        [0.17, 0.11, 0.08],
        [0.30, 0.19, 0.11],
        [0.52, 0.36, 0.18],
        [0.74, 0.60, 0.36],
        [0.55, 0.54, 0.53],
    ]
)


@dataclass(frozen=True, kw_only=True)
class Garment:
    """Colours in [0, 1], a pattern of `raster` with its period in mm, and how strongly folds show."""

    base: np.ndarray
    second: np.ndarray
    pattern: int
    period: float
    grain: float
    phase: float


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """A person's looks, without the body's measures."""

    skin: np.ndarray
    hair: np.ndarray
    hair_line: float
    hair_end: float
    beard: bool
    bald: bool
    long_hair: bool
    cap: bool
    smile: float
    top: Garment
    bottom: Garment
    cap_colour: np.ndarray
    shoe: np.ndarray
    front: int
    front_colour: np.ndarray
    front_numbers: tuple[float, float, float]
    sleeve: float  # 0 none, 1 to the elbow, 2 to the wrist
    trouser: float  # 1 to the knee, 2 to the ankle
    skirt: float  # 0 none, else the share of the thigh that it covers
    loose: float  # >= 1, how wide the clothes are


def _colour(rng: np.random.Generator, low: float, high: float, saturation: tuple[float, float]) -> np.ndarray:
    """Draw a hue, a value in [low, high] and a saturation in the given range; (3,) RGB."""
    hue, value, colourful = (rng.uniform(0, 6), rng.uniform(low, high), rng.uniform(*saturation))
    wheel = np.clip(np.abs(np.mod(hue + np.array([0.0, 4.0, 2.0]), 6) - 3) - 1, 0, 1)
    return value * (1 - colourful * (1 - wheel))


def _garment(rng: np.random.Generator, dullness: float, plain: float) -> Garment:
    """Draw a cloth; `dullness` in [0, 1] mixes bright and colourful with dark and grey."""
    bright = _colour(rng, 0.12, 0.95, (0.05, 0.8))
    dark = _colour(rng, 0.10, 0.50, (0.02, 0.35))
    base = (1 - dullness) * bright + dullness * dark
    other = (1 - dullness) * _colour(rng, 0.1, 0.95, (0.0, 0.8)) + dullness * np.clip(
        base * rng.uniform(0.55, 1.7), 0, 1
    )
    patterns = (raster.RINGS, raster.STRIPES, raster.CHECKS, raster.BLOTCHES, raster.PLAID)
    pattern = int(patterns[rng.integers(len(patterns))])
    if rng.random() < plain:
        pattern = raster.SOLID
    return Garment(
        base=base,
        second=other,
        pattern=pattern,
        period=float(rng.uniform(35, 130)),
        grain=float(rng.uniform(0.12, 0.35)),
        phase=float(rng.uniform(0, 900)),
    )


def sample_appearance(rng: np.random.Generator, body: Body, dullness: float = 0.0) -> Appearance:
    """Draw skin, hair and clothes.

    Args:
        rng: draws everything.
        body: whose looks.
        dullness: in [0, 1]; 0: clothes as in photographs, 1: as in a lab: dark, plain, long.
    """
    # Both wardrobes are always drawn from, so that `dullness` changes the clothes only.
    shade, mixed = rng.uniform(0, len(_SKIN) - 1.001), rng.uniform(0.9, 1.06)
    skin = mixed * ((1 - shade % 1) * _SKIN[int(shade)] + (shade % 1) * _SKIN[int(shade) + 1])
    hair = _HAIR[rng.integers(len(_HAIR))] * rng.uniform(0.8, 1.25)
    top, bottom = (_garment(rng, dullness, 0.45 + 0.3 * dullness), _garment(rng, dullness, 0.7 + 0.2 * dullness))
    chance = rng.random(9)
    front = int(
        np.select(
            [chance[0] < 0.30, chance[0] < 0.68, chance[0] < 0.82],
            [raster.V_NECK, raster.OPEN_JACKET, raster.PLACKET],
            raster.PRINT,
        )
    )
    if np.abs(top.base - skin).max() < 0.15:  # cloth of the colour of skin would undress them
        top = replace(top, base=0.6 * top.base[::-1])
    # The front must stand out against the cloth: dark on bright and bright on dark.
    contrast = _colour(rng, 0.72, 1.0, (0.0, 0.5)) if top.base.mean() < 0.45 else _colour(rng, 0.05, 0.3, (0.0, 0.6))
    numbers = {
        raster.V_NECK: (rng.uniform(0.45, 0.7), rng.uniform(-130, -70), 0.0),
        raster.OPEN_JACKET: (rng.uniform(48, 80), 0.0, 0.0),
        raster.PLACKET: (rng.uniform(16, 26), 0.0, 0.0),
        raster.PRINT: (rng.uniform(75, 120), rng.uniform(-260, -200), rng.uniform(-80, -40)),
    }[front]
    sleeve = float(rng.uniform(0.45, 1.0)) if chance[5] < 0.5 - 0.1 * dullness else 2.0
    if chance[5] < 0.08 - 0.08 * dullness:
        sleeve = 0.25
    return Appearance(
        skin=skin,
        hair=hair,
        hair_line=float(rng.uniform(0.42, 0.66)),
        hair_end=float(rng.uniform(-0.55, -0.15)),
        beard=bool(not body.female and chance[1] < 0.3),
        bald=bool(not body.female and chance[2] < 0.12),
        long_hair=bool(body.female and chance[3] < 0.6),
        cap=bool(chance[4] < 0.10 - 0.08 * dullness),
        smile=float(rng.uniform(-0.1, 0.35)),
        top=top,
        bottom=bottom,
        cap_colour=_colour(rng, 0.15, 0.9, (0.1, 0.8)),
        shoe=_colour(rng, 0.06, 0.9, (0.0, 0.5)) if rng.random() < 0.5 else _colour(rng, 0.05, 0.25, (0.0, 0.3)),
        front=front,
        front_colour=skin * 0.97 if front == raster.V_NECK else contrast,
        front_numbers=numbers,
        sleeve=sleeve,
        trouser=float(rng.uniform(0.55, 1.1) if chance[6] < 0.28 - 0.18 * dullness else 2.0),
        skirt=float(rng.uniform(0.75, 1.25)) if body.female and chance[7] < 0.22 * (1 - dullness) else 0.0,
        loose=float(rng.uniform(1.0, 1.2)),
    )  # fmt: skip


class _Shapes:
    """Shapes and their materials, collected one by one."""

    def __init__(self, owner: int) -> None:
        self.owner = owner
        self.shapes: list[np.ndarray] = []
        self.materials: list[np.ndarray] = []

    def add(
        self, axes: np.ndarray, centre: np.ndarray, material: np.ndarray, *, length: float, start: float, end: float,
        texture: np.ndarray | None = None, origin: np.ndarray | None = None, kind: int = raster.CONE,
    ) -> None:  # fmt: skip
        shape = np.zeros((), raster.SHAPE)
        shape["kind"], shape["owner"] = kind, self.owner
        shape["world_from_local"], shape["centre"] = axes, centre
        shape["length"], shape["start_radius"], shape["end_radius"] = length, start, end
        if texture is None:
            texture = axes / np.sqrt((axes * axes).sum(axis=0))
        # The columns are orthogonal, so the inverse is the transpose over their squared lengths.
        shape["texture_from_world"] = (texture / (texture * texture).sum(axis=0)).T
        shape["texture_origin"] = centre if origin is None else origin
        self.shapes.append(shape)
        self.materials.append(material)

    def limb(
        self, start: np.ndarray, end: np.ndarray, radii: tuple[float, float], material: np.ndarray,
        forward: np.ndarray, *, flat: float = 1.0,
    ) -> None:  # fmt: skip
        """Add a round cone between two points; `radii` are those of its ends, `flat` scales it along `forward`."""
        along = end - start
        length = math.sqrt(along @ along)
        z = along / length
        y = forward - z * (forward @ z)
        y = y / math.sqrt(y @ y)
        # x = y cross z, written out: np.cross takes longer than all the rest.
        x = (y[1] * z[2] - y[2] * z[1], y[2] * z[0] - y[0] * z[2], y[0] * z[1] - y[1] * z[0])
        self.add(np.array([x, flat * y, z]).T, start, material, length=length, start=radii[0], end=radii[1])

    def blob(
        self, centre: np.ndarray, frame: np.ndarray, radii: tuple[float, float, float], material: np.ndarray, *,
        texture: np.ndarray | None = None, origin: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        """Add an ellipsoid with its radii along the frame's axes."""
        self.add(
            frame * np.array(radii),
            centre,
            material,
            length=0.0,
            start=1.0,
            end=1.0,
            texture=frame if texture is None else texture,
            origin=origin,
        )

    def done(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self.shapes, raster.SHAPE), np.array(self.materials, raster.MATERIAL)


def plain(colour: np.ndarray, grain: float = 0.0, gloss: float = 0.0, phase: float = 0.0) -> np.ndarray:
    """Return a material of one colour."""
    made = np.zeros((), raster.MATERIAL)
    made["base"] = made["second"] = made["third"] = colour
    made["grain"], made["gloss"], made["period"], made["phase"] = (grain, gloss, 100.0, phase)
    return made


def _cloth(garment: Garment, kind: int = raster.PLAIN, third: np.ndarray | None = None, cut: float = 0.0) -> np.ndarray:
    made = plain(garment.base, garment.grain, 0.0, garment.phase)
    made["second"], made["pattern"], made["period"], made["kind"] = (
        garment.second,
        garment.pattern,
        garment.period,
        kind,
    )
    if third is not None:
        made["third"] = third
    made["numbers"][0] = cut
    return made


def person_shapes(body: Body, looks: Appearance, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Return the (shapes,) of SHAPE and of MATERIAL of one person in one frame."""
    p, f = pose.points, pose.frames
    made = _Shapes(raster.PERSON)
    size, girth = body.height / 1700, body.girth * body.height / 1700
    wide = girth * looks.loose
    skin = plain(looks.skin, grain=0.05, gloss=0.10)
    hair = plain(looks.hair, grain=0.5, gloss=0.06)

    # Trunk. One texture frame, the chest's, from the thorax down: stripes and fronts run through.
    top = _cloth(looks.top, raster.FRONT, looks.front_colour)
    top["front"], top["numbers"][:3] = looks.front, looks.front_numbers
    chest, waist, pelvis = f["chest"], f["waist"], f["pelvis"]
    thorax, hips = p["thorax"], p["pelvis"]
    shoulder_half = body.half_shoulders
    made.add(
        np.column_stack([chest[:, 0] * (0.86 * shoulder_half + 12) / 100, chest[:, 1] * 0.96 * wide, chest[:, 2]]),
        p["waist"] + 20 * chest[:, 2], top, length=0.62 * body.chest, start=92.0, end=104.0, texture=chest, origin=thorax,
    )  # fmt: skip
    made.add(
        np.column_stack([waist[:, 0] * (0.45 * body.half_hips + 0.42 * shoulder_half + 22) / 100 * wide,
                         waist[:, 1] * 0.92 * wide, waist[:, 2]]),
        hips + 60 * waist[:, 2], top, length=body.loin * 0.75, start=106.0, end=98.0, texture=chest, origin=thorax,
    )  # fmt: skip
    for side in ("right", "left"):
        made.limb(
            thorax - 22 * chest[:, 2], p[f"{side}_shoulder"] - 8 * chest[:, 2], (66 * wide, 55 * wide), top, chest[:, 1]
        )
        made.shapes[-1]["texture_from_world"], made.shapes[-1]["texture_origin"] = chest.T, thorax
    if body.female:
        for sign in (1.0, -1.0):
            made.blob(
                thorax + chest @ np.array([sign * 0.42 * shoulder_half, 60 * wide, -135 * size]),
                chest, (66 * girth, 56 * girth, 66 * girth), top, texture=chest, origin=thorax,
            )  # fmt: skip
    bottom = _cloth(looks.bottom)
    made.blob(hips + 12 * pelvis[:, 2], pelvis, ((body.half_hips + 68) * wide, 112 * wide, 112 * size), bottom)

    # Legs.
    cut_thigh = min(looks.trouser, 1.0) * body.thigh if looks.trouser < 1 else 1e9
    cut_shank = (looks.trouser - 1) * body.shank if looks.trouser < 2 else 1e9
    if looks.skirt > 0:
        cut_thigh, cut_shank = 0.3 * body.thigh, -1e9
    leg = wide if looks.trouser >= 2 and looks.skirt == 0 else girth
    thigh = _cloth(looks.bottom, raster.CUT, looks.skin, cut_thigh)
    shank = _cloth(looks.bottom, raster.CUT, looks.skin, cut_shank)
    for side in ("right", "left"):
        made.limb(p[f"{side}_hip"], p[f"{side}_knee"], (86 * leg, 58 * leg), thigh, f[f"{side}_thigh"][:, 1])
        made.limb(p[f"{side}_knee"], p[f"{side}_ankle"], (56 * leg, 38 * leg), shank, f[f"{side}_shank"][:, 1])
        if looks.trouser < 2 or looks.skirt > 0:  # calf
            calf = p[f"{side}_knee"] + f[f"{side}_shank"] @ np.array([0, -16 * girth, -0.3 * body.shank])
            made.blob(calf, f[f"{side}_shank"], (44 * girth, 46 * girth, 0.22 * body.shank), skin)
        foot = f[f"{side}_foot"]
        shoe = plain(looks.shoe, grain=0.1, gloss=0.15)
        heel = p[f"{side}_ankle"] + foot @ np.array([0, -0.18 * body.foot, -0.55 * body.ankle_height])
        ball = p[f"{side}_ankle"] + foot @ np.array([0, 0.42 * body.foot, -0.62 * body.ankle_height])
        made.limb(heel, ball, (40 * size, 42 * size), shoe, foot[:, 2], flat=0.9)
        made.limb(ball, p[f"{side}_toe"] + 4 * foot[:, 2], (42 * size, 33 * size), shoe, foot[:, 2], flat=0.78)
    if looks.skirt > 0:
        knees = 0.5 * (p["right_knee"] + p["left_knee"])
        hem = hips + looks.skirt * 0.85 * (knees - hips)
        apart = 0.5 * float(np.linalg.norm(p["right_knee"] - p["left_knee"]))
        widest = (body.half_hips + 62) * wide
        made.limb(hips - 20 * pelvis[:, 2], hem, (widest, widest + 0.35 * apart), bottom, pelvis[:, 1], flat=0.74)
        made.shapes[-1]["kind"] = raster.SKIRT

    # Arms and hands.
    cut_upper = min(looks.sleeve, 1.0) * body.upper_arm if looks.sleeve < 1 else 1e9
    cut_fore = (looks.sleeve - 1) * body.forearm if looks.sleeve < 2 else 1e9
    arm = girth * (looks.loose if looks.sleeve >= 2 else 0.5 * (1 + looks.loose))
    upper = _cloth(looks.top, raster.CUT, looks.skin, cut_upper)
    fore = _cloth(looks.top, raster.CUT, looks.skin, cut_fore)
    for side, sign in (("right", 1.0), ("left", -1.0)):
        forward = f[f"{side}_forearm"][:, 1]
        made.limb(p[f"{side}_shoulder"], p[f"{side}_elbow"], (54 * arm, 42 * arm), upper, f[f"{side}_upper_arm"][:, 1])
        made.limb(p[f"{side}_elbow"], p[f"{side}_wrist"], (41 * arm, 29 * arm), fore, forward)
        wrist, tip = p[f"{side}_wrist"], p[f"{side}_hand"]
        palm = wrist + 0.45 * (tip - wrist)
        made.limb(wrist, palm, (25 * size, 33 * size), skin, forward, flat=0.62)
        made.limb(palm, tip + 0.4 * (tip - palm), (31 * size, 19 * size), skin, forward, flat=0.6)
        across = f[f"{side}_forearm"][:, 0] * -sign
        made.limb(
            palm, palm + 34 * size * across + 0.25 * (tip - wrist) + 18 * forward, (15 * size, 12 * size), skin, forward
        )

    # Head. The skull hangs between the upper neck and the head top, so that both are where people mark them.
    head = f["head"]
    made.limb(thorax - 10 * chest[:, 2], p["upper_neck"] + 20 * head[:, 2], (57 * girth, 50 * girth), skin, chest[:, 1])
    half = 0.5 * body.head + 3
    centre = 0.5 * (p["upper_neck"] + p["head_top"]) + head @ np.array([0, 12 * size, 0])
    radii = (77 * size, 95 * size, half)
    face = plain(looks.skin, gloss=0.08)
    face["kind"], face["third"] = raster.FACE, looks.hair
    face["numbers"][:5] = (looks.hair_line, looks.hair_end, looks.beard, looks.bald, looks.smile)
    made.blob(centre, head, radii, face, texture=head * np.array(radii))
    chin = centre + head @ np.array([0, 36 * size, -0.64 * half])
    made.blob(chin, head, (52 * size, 52 * size, 38 * size), face, texture=head * np.array(radii), origin=centre)
    bridge, tip = (centre + head @ np.array([0, y * size, z * half]) for y, z in ((92, 0.05), (106, -0.24)))
    made.limb(bridge, tip, (9 * size, 15 * size), skin, head[:, 1])
    for sign in (1.0, -1.0):
        made.blob(centre + head @ np.array([sign * 77 * size, -4, -2]), head, (10 * size, 18 * size, 30 * size), skin)
    if not looks.bald and not looks.cap:  # hair has volume
        made.blob(
            centre + head @ np.array([0, -20 * size, 0.20 * half]), head, (84 * size, 88 * size, 0.86 * half), hair
        )
    if looks.long_hair:
        made.limb(centre + head @ np.array([0, -42 * size, 20]), thorax + chest @ np.array([0, -78 * wide, -20]),
                  (78 * size, 66 * size), hair, head[:, 1], flat=0.7)  # fmt: skip
    if looks.cap:
        cap = plain(looks.cap_colour, grain=0.1)
        made.blob(centre + head @ np.array([0, -6 * size, 0.42 * half]), head, (84 * size, 98 * size, 0.66 * half), cap)
        brow, peak = (centre + head @ np.array([0, y * size, z * half]) for y, z in ((74, 0.50), (128, 0.42)))
        made.limb(brow, peak, (58 * size, 50 * size), cap, head[:, 2], flat=0.14)
    return made.done()


def box(
    centre: np.ndarray, half_sizes: np.ndarray, material: np.ndarray, yaw: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return a box of a room, turned by `yaw` deg about the vertical: a SHAPE and its MATERIAL."""
    made = _Shapes(raster.THING)
    cosine, sine = np.cos(np.deg2rad(yaw)), np.sin(np.deg2rad(yaw))
    frame = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    made.add(
        frame * half_sizes,
        np.asarray(centre, float),
        material,
        length=0.0,
        start=1.0,
        end=1.0,
        texture=frame,
        origin=np.zeros(3),
        kind=raster.BOX,
    )
    return made.shapes[0], made.materials[0]


def shadow_of(pose: Pose, towards: np.ndarray, centre: np.ndarray, half: float, cells: int) -> np.ndarray:
    """Return the share of the lamp's light that a person takes from the floor.

    Args:
        pose: of the person.
        towards: (3,) world direction to the lamp.
        centre: (2,) world mm, the middle of the map.
        half: mm, half the side of the map.
        cells: number of cells along each side of the map.

    Returns:
        (cells, cells) float32 in [0, 1], rows along world y, columns along world x.
    """
    p = pose.points
    bones = [("pelvis", "thorax", 130), ("upper_neck", "head_top", 85)]
    for side in ("right", "left"):
        bones += [
            (f"{side}_hip", f"{side}_knee", 75),
            (f"{side}_knee", f"{side}_ankle", 50),
            (f"{side}_ankle", f"{side}_toe", 45),
            ("thorax", f"{side}_shoulder", 70),
            (f"{side}_shoulder", f"{side}_elbow", 50),
            (f"{side}_elbow", f"{side}_hand", 38),
        ]
    slope = towards[:2] / max(towards[2], 0.35)
    scale = cells / (2 * half)
    made = np.zeros((cells, cells), np.uint8)
    near = np.zeros((cells, cells), np.uint8)
    for one, other, radius in bones:
        ends = [(p[name][:2] - slope * p[name][2] - centre + half) * scale for name in (one, other)]
        first, second = ((round(float(x)), round(float(y))) for x, y in ends)
        cv2.line(made, first, second, 255, max(1, round(2 * radius * scale)))
        straight = [(p[name][:2] - centre + half) * scale for name in (one, other)]
        low = min(p[one][2], p[other][2])
        if low < 500:
            first, second = ((round(float(x)), round(float(y))) for x, y in straight)
            cv2.line(near, first, second, int(255 * (1 - low / 500)), max(1, round(2.4 * radius * scale)))
    cast = cv2.GaussianBlur(made, (0, 0), 45 * scale).astype(np.float32) / 255
    contact = cv2.GaussianBlur(near, (0, 0), 60 * scale).astype(np.float32) / 255
    return np.maximum(0.75 * cast, contact)
