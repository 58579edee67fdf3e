"""How the rig's cameras see: the constant look of a camera, and corruptions that come and go.

Each camera has a constant look. Corruptions come on top, at different frames in every view: a lamp that flickers, a hunting
exposure, a person close to the lens, haze, a lost focus. They make a network fail in single views, so that the other views
can supply the label.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import cv2
import numpy as np
from annotated_types import Ge, Interval, Lt
from numba import njit

CORRUPTIONS = ("dark", "glare", "haze", "defocus", "motion", "noise", "cone", "passer_by")


@dataclass(frozen=True, kw_only=True)
class Look:
    """Section `synthesize.look`: the constant look of the rig's images at a domain gap of 1; cameras vary around it.

    Attributes:
        clothing_dullness: of the clothes; 0: as in the labelled source, 1: dark and plain.
        exposure: stops above the source's exposure.
        exposure_spread: stops; standard deviation between cameras.
        contrast: 1: that of the scene.
        haze: share of a grey veil.
        saturation: 1: that of the scene.
        warmth: red over blue.
        cast_spread: standard deviation of each colour channel between cameras.
        noise: standard deviation per pixel; full scale is 1.
        colour_noise: the same per colour channel.
        blur_px: standard deviation of the blur, px.
        vignette: share of the light that is lost in the corners.
        jpeg_quality: of the stored images.
    """

    clothing_dullness: float = 1.0
    exposure: float = 0.0
    exposure_spread: float = 0.20
    contrast: float = 0.92
    haze: float = 0.04
    saturation: float = 0.75
    warmth: float = 0.08
    cast_spread: float = 0.05
    noise: float = 0.020
    colour_noise: float = 0.012
    blur_px: float = 0.7
    vignette: float = 0.25
    jpeg_quality: Annotated[int, Interval(ge=1, le=100)] = 70


@dataclass(frozen=True, kw_only=True)
class Corruptions:
    """Section `synthesize.corruptions`: what comes and goes in single views.

    Attributes:
        share: of a view's frames.
        frames: mean length of one corruption.
        severity: 1: hurts much, 0: not at all.
        dark: this field and those below weight how often each kind is drawn, 0 never; too little light, with its noise.
        glare: a lamp or window behind the person blooms over the person.
        haze: a grey veil.
        defocus: blur by a lost focus.
        motion: blur along one direction.
        noise: a sensor with too little light, and a low JPEG quality.
        cone: a hard edge of light across a part of the stage.
        passer_by: a person close to the lens hides a part of the person.
    """

    share: Annotated[float, Ge(0), Lt(1)] = 0.40
    frames: float = 3.0
    severity: float = 1.0
    dark: float = 1.0
    glare: float = 1.0
    haze: float = 1.0
    defocus: float = 1.0
    motion: float = 0.6
    noise: float = 0.6
    cone: float = 0.8
    passer_by: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """All numbers that turn one view's scene into its image. Positions are px of the image."""

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
    passer: float = 0.0  # > 0: half the width of a person near the lens, px
    passer_at: tuple[float, float] = (0.0, 0.0)
    passer_shade: float = 0.2
    passer_speed: float = 0.0  # px of motion during the exposure
    corruption: str = ""


@lru_cache(maxsize=1)
def grain() -> np.ndarray:
    """Return (2^21,) float32 standard normal numbers; slices of them are the images' noise, faster than drawing it."""
    return np.random.default_rng([17, 4, 1]).standard_normal(1 << 21, dtype=np.float32)


def sample_camera_look(rng: np.random.Generator, look: Look, domain_gap: float) -> Exposure:
    """Draw one camera's constant look; at a domain gap of 0 it is the mean look of the source's photographs."""
    spread = rng.normal(size=5)

    def between(source: float, rig: float) -> float:
        return source + domain_gap * (rig - source)

    cast = 1 + domain_gap * look.cast_spread * spread[1:4] + domain_gap * look.warmth * np.array([0.5, 0.0, -0.5])
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


def sample_corruptions(rng: np.random.Generator, frames: int, config: Corruptions) -> list[tuple[str, int] | None]:
    """Draw the corruption of every frame of one view: None, or its kind and the seed of its spell.

    Clean and corrupted spells alternate with geometric lengths; `config.share` of the frames is corrupted in the long run.
    """
    weights = np.array([getattr(config, name) for name in CORRUPTIONS])
    if config.share <= 0 or weights.sum() <= 0:
        return [None] * frames
    leave = 1 / max(1.0, config.frames)
    enter = min(1.0, leave * config.share / max(1e-9, 1 - config.share))
    plan: list[tuple[str, int] | None] = []
    current: tuple[str, int] | None = None
    corrupted = rng.random() < config.share
    for _ in range(frames):
        if corrupted and current is None:
            current = (CORRUPTIONS[rng.choice(len(CORRUPTIONS), p=weights / weights.sum())], int(rng.integers(2**62)))
        if not corrupted:
            current = None
        # A spell keeps its seed, so that its frames share one window, one passer-by, one haze.
        plan.append(current)
        if rng.random() < (leave if corrupted else enter):
            corrupted, current = not corrupted, None
    return plan


def corrupt(
    usual: Exposure,
    kind: str,
    *,
    spell: np.random.Generator,
    frame: np.random.Generator,
    box: np.ndarray,
    severity: float,
) -> Exposure:
    """Return a camera's usual exposure with one corruption added.

    Args:
        usual: the camera's constant look.
        kind: one of CORRUPTIONS.
        spell: random numbers shared by the frames of the corruption.
        frame: random numbers of this frame alone.
        box: (4,) px left, top, right, bottom of the person, whom a corruption has to affect.
        severity: 1: hurts much, 0: not at all.
    """
    values = dict(vars(usual))
    values["corruption"] = kind
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
    """Return the image that a camera takes of a scene.

    Args:
        rng: draws the noise.
        scene: (height, width, 3) float32 RGB in [0, 1] and a little above.
        person: (height, width) float32 in [0, 1], the share of each pixel that the person covers.
        look: the exposure.

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
    """Return an (n, n) kernel that sums to 1: a line of the given length in px and angle in deg."""
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
    """Return the scene behind a person near the lens: a dark shoulder and head, out of focus and moving."""
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
