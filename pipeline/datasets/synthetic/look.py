"""How the rig's cameras see: what is always wrong with a camera, and what goes wrong for a while.

Each camera has a constant look. On top of it troubles come and go, in every view at other moments: a lamp that flickers,
a hunting exposure, somebody in front of the lens, haze, a lost focus. They are what makes a network fail in single
views, so that the other views can tell it what it should have seen.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numba import njit

TROUBLES = ("dark", "glare", "haze", "defocus", "motion", "noise", "cone", "passer_by")


@dataclass(frozen=True)
class Look:
    """What is always so, in every picture of the rig, at a gap of 1. Each camera draws its own around these."""

    dull: float = 1.0  # 0 dresses people as in the source, 1 in dark and plain clothes
    exposure: float = 0.0  # stops over the source's; cameras differ by `exposure_spread`
    exposure_spread: float = 0.20
    contrast: float = 0.92  # 1 as the scene is
    haze: float = 0.04  # share of grey veil
    saturation: float = 0.75
    warmth: float = 0.08  # red over blue
    cast_spread: float = 0.05  # of each colour channel, between cameras
    noise: float = 0.020  # standard deviation, full scale 1
    colour_noise: float = 0.012
    blur_px: float = 0.7
    vignette: float = 0.25  # light lost in the corners
    jpeg_quality: int = 70


@dataclass(frozen=True)
class Trouble:
    """What comes and goes. The weights say how often each kind is what goes wrong; 0 turns a kind off."""

    share: float = 0.40  # of a view's frames
    frames: float = 3.0  # mean length of one trouble
    severity: float = 1.0
    dark: float = 1.0  # light gone or exposure too short, with the noise that comes with it
    glare: float = 1.0  # lamp or window behind the person, which blooms over them
    haze: float = 1.0  # veil towards grey
    defocus: float = 1.0
    motion: float = 0.6  # the picture smears
    noise: float = 0.6  # a starved sensor, and a starved JPEG
    cone: float = 0.8  # a hard edge of light over a part of the stage
    passer_by: float = 1.0  # somebody close to the lens hides a part of the person


@dataclass(frozen=True)
class Exposure:
    """Every number that turns one view's scene into its picture. Positions are in px of the picture."""

    gain: float
    contrast: float
    haze: float
    saturation: float
    cast: tuple[float, float, float]
    noise: float
    colour_noise: float
    blur: float
    vignette: float
    quality: int
    smear: float = 0.0  # px
    smear_angle: float = 0.0
    glare: float = 0.0
    glare_at: tuple[float, float] = (0.0, 0.0)
    glare_radius: float = 60.0
    silhouette: float = 0.0  # how dark the person is against the light
    cone: float = 0.0
    cone_at: tuple[float, float] = (0.0, 0.0)
    cone_angle: float = 0.0
    cone_dark: bool = False
    passer: float = 0.0  # > 0: the half width of somebody, px
    passer_at: tuple[float, float] = (0.0, 0.0)
    passer_shade: float = 0.2
    passer_speed: float = 0.0  # px that they move during one exposure
    trouble: str = ""


@lru_cache(maxsize=1)
def grain() -> np.ndarray:
    """(2^21,) float32 standard normal numbers; pictures cut their noise out of it, which is faster than drawing it."""
    return np.random.default_rng([17, 4, 1]).standard_normal(1 << 21, dtype=np.float32)


def sample_camera_look(rng: np.random.Generator, look: Look, gap: float) -> Exposure:
    """One camera's constant look; at a gap of 0 it is the middle of what the source's photographs have."""
    spread = rng.normal(size=5)

    def between(source: float, rig: float) -> float:
        return source + gap * (rig - source)

    cast = 1 + gap * look.cast_spread * spread[1:4] + gap * look.warmth * np.array([0.5, 0.0, -0.5])
    return Exposure(
        gain=float(2.0 ** between(0.05, look.exposure + look.exposure_spread * spread[0])),
        contrast=max(0.2, between(1.0, look.contrast * float(np.exp(0.06 * spread[4])))),
        haze=float(np.clip(between(0.0, look.haze), 0, 0.9)),
        saturation=max(0.0, between(1.0, look.saturation)),
        cast=(float(cast[0]), float(cast[1]), float(cast[2])),
        noise=max(0.0, between(0.010, look.noise)),
        colour_noise=max(0.0, between(0.006, look.colour_noise)),
        blur=max(0.0, between(0.5, look.blur_px)),
        vignette=float(np.clip(between(0.0, look.vignette), 0, 0.9)),
        quality=int(np.clip(round(between(90, look.jpeg_quality)), 5, 98)),
    )


def sample_troubles(rng: np.random.Generator, frames: int, trouble: Trouble) -> list[tuple[str, int] | None]:
    """When which trouble reaches one view: for every frame nothing, or its kind and the seed of its spell.

    Good and bad spells alternate with geometric lengths; `trouble.share` of the frames is bad in the long run.
    """
    weights = np.array([getattr(trouble, name) for name in TROUBLES])
    if trouble.share <= 0 or weights.sum() <= 0:
        return [None] * frames
    leave = 1 / max(1.0, trouble.frames)
    enter = min(1.0, leave * trouble.share / max(1e-9, 1 - trouble.share))
    plan: list[tuple[str, int] | None] = []
    current: tuple[str, int] | None = None
    bad = rng.random() < trouble.share
    for _ in range(frames):
        if bad and current is None:
            current = (TROUBLES[rng.choice(len(TROUBLES), p=weights / weights.sum())], int(rng.integers(2**62)))
        if not bad:
            current = None
        # A spell keeps its seed, so that its frames share one window, one passer-by, one haze.
        plan.append(current)
        if rng.random() < (leave if bad else enter):
            bad, current = not bad, None
    return plan


def worsen(
    usual: Exposure, kind: str, spell: np.random.Generator, frame: np.random.Generator, box: np.ndarray, severity: float
) -> Exposure:
    """Add one trouble to a camera's usual exposure.

    Args:
        spell: chance shared by the frames of the trouble.
        frame: chance of this frame alone.
        box: (4,) px left, top, right, bottom of the person, which is where a trouble hurts.
        severity: 1 hurts much, 0 not at all.
    """
    values = dict(vars(usual))
    values["trouble"] = kind
    size, middle = box[2:] - box[:2], (box[:2] + box[2:]) / 2
    force = severity * spell.uniform(0.75, 1.15) * frame.uniform(0.85, 1.1)
    match kind:
        case "dark":
            values["gain"] *= float(2.0 ** (-2.0 * force))
            values["noise"] += 0.014 * force
            values["colour_noise"] += 0.010 * force
        case "glare":
            values["glare"] = 1.15 * force
            at = middle + spell.uniform(-0.4, 0.4, size=2) * size
            values["glare_at"] = (float(at[0]), float(at[1] - 0.15 * size[1]))
            values["glare_radius"] = float(spell.uniform(0.35, 0.6) * size[1])
            values["silhouette"] = float(np.clip(0.75 * force, 0, 0.95))
        case "haze":
            values["haze"] = float(np.clip(usual.haze + 0.68 * force, 0, 0.92))
            values["noise"] += 0.008 * force
        case "defocus":
            values["blur"] += 4.0 * force
        case "motion":
            values["smear"] = 22.0 * force
            values["smear_angle"] = float(frame.uniform(0, 180))
        case "noise":
            values["noise"] += 0.10 * force
            values["colour_noise"] += 0.07 * force
            values["quality"] = int(np.clip(usual.quality - 55 * force, 8, 95))
        case "cone":
            values["cone"] = float(1.0 * force)
            at = middle + spell.uniform(-0.15, 0.15, size=2) * size
            values["cone_at"] = (float(at[0]), float(at[1]))
            values["cone_angle"] = float(spell.uniform(0, 360))
            values["cone_dark"] = bool(spell.random() < 0.5)
        case "passer_by":
            values["passer"] = float(spell.uniform(0.10, 0.17) * size[1] * min(1.3, force))
            at = middle + frame.uniform(-0.30, 0.30, size=2) * size
            values["passer_at"] = (float(at[0]), float(at[1]))
            values["passer_shade"] = float(spell.uniform(0.06, 0.35))
            values["passer_speed"] = float(spell.uniform(4, 20))
    return Exposure(**values)


def expose(rng: np.random.Generator, scene: np.ndarray, person: np.ndarray, look: Exposure) -> np.ndarray:
    """Take the picture.

    Args:
        scene: (height, width, 3) float32 RGB in [0, 1] and a little above.
        person: (height, width) float32 in [0, 1], the share of each pixel that is the person.

    Returns:
        (height, width, 3) uint8, BGR.
    """
    height, width, _ = scene.shape
    grid = 8
    v, u = np.mgrid[0 : height // grid, 0 : width // grid].astype(np.float32) * grid + (grid - 1) / 2
    radius = ((u - width / 2) ** 2 + (v - height / 2) ** 2) / (width**2 + height**2) * 4  # 1 in the corners
    gain = look.gain * (1 - look.vignette * radius)
    bloom = np.zeros_like(gain)
    if look.glare > 0:
        distance = np.hypot(u - look.glare_at[0], v - look.glare_at[1]) / look.glare_radius
        bloom = look.glare * (0.55 * np.exp(-(distance**2)) + 0.28 * np.exp(-distance))
        hot = np.exp(-((distance / 0.8) ** 4))
        behind = 1 - person
        lamp = cv2.resize((1.6 * look.glare * hot).astype(np.float32), (width, height))
        scene = scene * (1 - look.silhouette * person)[..., None] + (lamp * behind)[..., None]
    if look.cone > 0:
        angle = np.deg2rad(look.cone_angle)
        side = (u - look.cone_at[0]) * np.cos(angle) + (v - look.cone_at[1]) * np.sin(angle)
        inside = 1 / (1 + np.exp(np.clip(-side / 6, -50, 50)))
        gain = gain * (2.0 ** ((-3.0 if look.cone_dark else 2.8) * look.cone * inside))
    if look.passer > 0:
        scene = _pass_by(scene, look)
    if look.smear > 1.5:
        scene = cv2.filter2D(scene, -1, _smear_kernel(look.smear, look.smear_angle), borderType=cv2.BORDER_REFLECT)
    if look.blur > 0.3:
        scene = cv2.GaussianBlur(scene, (0, 0), look.blur)
    gains = cv2.resize(gain.astype(np.float32), (width, height))
    blooms = cv2.resize(bloom.astype(np.float32), (width, height))
    bank = grain()
    starts = rng.integers(0, len(bank) - height * width, size=4)
    made = np.empty((height, width, 3), np.uint8)
    _develop(
        np.ascontiguousarray(scene), gains, blooms, bank, starts, np.array(look.cast), look.contrast, look.haze,
        look.saturation, look.noise, look.colour_noise, made,
    )  # fmt: skip
    return made


@njit(cache=True)
def _develop(scene, gains, blooms, bank, starts, cast, contrast, haze, saturation, noise, colour_noise, made):
    height, width, _ = scene.shape
    value = np.empty(3)
    for row in range(height):
        for column in range(width):
            luma = 0.0
            for channel in range(3):
                light = scene[row, column, channel] * gains[row, column] * cast[channel] + blooms[row, column]
                light = 0.42 + (light - 0.42) * contrast
                value[channel] = light + haze * (0.62 - light)
                luma += value[channel] / 3.0
            index = row * width + column
            shot = noise * bank[starts[0] + index]
            for channel in range(3):
                light = luma + (value[channel] - luma) * saturation
                light += shot + colour_noise * bank[starts[1 + channel] + index]
                made[row, column, 2 - channel] = np.uint8(min(1.0, max(0.0, light)) * 255.0 + 0.5)


def _smear_kernel(length: float, angle: float) -> np.ndarray:
    """(n, n) line of the given length in px and angle in deg, summing to 1."""
    side = int(np.ceil(length)) // 2 * 2 + 3
    kernel = np.zeros((side, side), np.float32)
    middle = (side - 1) / 2
    along = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))]) * length / 2
    first, second = middle - along, middle + along
    cv2.line(
        kernel,
        tuple(round(16 * float(v)) for v in first),
        tuple(round(16 * float(v)) for v in second),
        1.0,
        1,
        cv2.LINE_AA,
        4,
    )
    return kernel / kernel.sum()


def _pass_by(scene: np.ndarray, look: Exposure) -> np.ndarray:
    """Somebody near the lens: a dark shoulder and head, out of focus and moving, over a part of the picture."""
    height, width, _ = scene.shape
    small = np.zeros((height // 4, width // 4), np.uint8)
    x, y, r = look.passer_at[0] / 4, look.passer_at[1] / 4, look.passer / 4
    cv2.circle(small, (round(x), round(y - 1.1 * r)), max(1, round(0.62 * r)), 255, -1)
    cv2.rectangle(small, (round(x - r), round(y)), (round(x + r), height), 255, -1)
    cv2.circle(small, (round(x), round(y + 0.3 * r)), max(1, round(r)), 255, -1)
    soft = cv2.GaussianBlur(small, (0, 0), sigmaX=1.2 + look.passer_speed / 8, sigmaY=1.2).astype(np.float32) / 255
    cover = cv2.resize(soft, (width, height))[..., None]
    tint = np.array([1.0, 0.95, 0.9], np.float32) * np.float32(look.passer_shade)
    return scene * (1 - cover) + tint * cover
