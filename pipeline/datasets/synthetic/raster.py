"""Draw rounded cones and boxes by casting one ray through every pixel, with a depth buffer.

A shape lives in its own local space, in which it is simple: a cone with rounded ends along +z, or the cube [-1, 1]^3.
An affine map takes it into the world, so a torso is a round cone that was flattened, and a head a sphere that was
stretched. The caller puts the lens distortion into the rays, so the image is exact for every lens.
"""

import math

import numpy as np
from numba import njit
from scipy.interpolate import RectBivariateSpline

from pipeline.geometry.camera import Camera

CONE, BOX, SKIRT = 0, 1, 2  # a skirt is a cone that is open at its end
BACKGROUND, PERSON, THING = 0, 1, 2  # the owner of a pixel

# The details of a material beyond its pattern; `numbers` holds their sizes.
PLAIN, CUT, FRONT, FACE, TILES = 0, 1, 2, 3, 4
SOLID, RINGS, STRIPES, CHECKS, BLOTCHES, PLAID = 0, 1, 2, 3, 4, 5  # patterns
NO_FRONT, V_NECK, OPEN_JACKET, PLACKET, PRINT = 0, 1, 2, 3, 4  # fronts of a garment

MATERIAL = np.dtype(
    [
        ("base", "f8", (3,)),
        ("second", "f8", (3,)),  # the other colour of the pattern
        ("third", "f8", (3,)),  # beyond a cut: skin; on a front: its colour; on a face: hair
        ("pattern", "i8"),
        ("period", "f8"),  # mm
        ("kind", "i8"),
        ("front", "i8"),
        ("numbers", "f8", (6,)),
        ("grain", "f8"),  # strength of the mottling and the folds
        ("gloss", "f8"),
        ("phase", "f8"),  # shifts the noise, so that no two garments are alike
    ]
)

SHAPE = np.dtype(
    [
        ("kind", "i8"),
        ("owner", "i8"),
        ("world_from_local", "f8", (3, 3)),
        ("centre", "f8", (3,)),  # world mm, the local origin
        ("length", "f8"),
        ("start_radius", "f8"),
        ("end_radius", "f8"),
        ("texture_from_world", "f8", (3, 3)),
        ("texture_origin", "f8", (3,)),  # world mm
    ]
)

LIGHT = np.dtype(
    [("towards", "f8", (3,)), ("colour", "f8", (3,)), ("ambient", "f8", (3,)), ("share", "f8"), ("ground", "f8")]
)


def light(
    towards: np.ndarray, colour: np.ndarray, ambient: np.ndarray, share: float, ground: float = 0.55
) -> np.ndarray:
    """Return one record of LIGHT: a far lamp and a sky.

    Args:
        towards: (3,) world direction to the lamp.
        colour, ambient: (3,) of the lamp and of the sky.
        share: in [0, 1], of the light that comes from the sky.
        ground: in [0, 1], the share of the sky's light that reaches a surface facing the floor.
    """
    made = np.zeros((), LIGHT)
    made["towards"] = towards / np.linalg.norm(towards)
    made["colour"], made["ambient"], made["share"], made["ground"] = (colour, ambient, share, ground)
    return made


def rays_of(camera: Camera, corner: tuple[float, float], size: tuple[int, int], step: float = 1.0) -> np.ndarray:
    """Return the rays through a grid of points of the image, undistorted.

    Args:
        camera: whose image.
        corner: (left, top) px, the grid's first point.
        size: (width, height), the number of points.
        step: px between the points.

    Returns:
        (height, width, 2) x/z and y/z in camera axes.
    """
    (left, top), (width, height) = corner, size
    x, y = left + step * np.arange(width), top + step * np.arange(height)
    if not camera.distortion.any():
        flat = np.empty((height, width, 2))
        flat[..., 0], flat[..., 1] = x, y[:, None]
    else:
        # Undistortion is slow and smooth: quintic splines through every 16th point are exact to 1e-7 px.
        few_x, few_y = np.linspace(x[0], x[-1], width // 16 + 2), np.linspace(y[0], y[-1], height // 16 + 2)
        few = camera.undistort(np.stack(np.meshgrid(few_x, few_y), axis=-1))
        flat = np.stack([RectBivariateSpline(few_y, few_x, few[..., i], kx=5, ky=5)(y, x) for i in (0, 1)], axis=-1)
    return np.ascontiguousarray((flat - camera.K[:2, 2]) / np.diag(camera.K)[:2])


def regions_of(shapes: np.ndarray, camera: Camera) -> np.ndarray:
    """Return (shapes, 4) px left, top, right, bottom that enclose each shape; NaN if it reaches behind the camera."""
    widest = np.maximum(shapes["start_radius"], shapes["end_radius"])
    is_box = shapes["kind"] == BOX
    side = np.where(is_box, 1.0, widest)
    bottom = np.where(is_box, -1.0, -shapes["start_radius"])
    top = np.where(is_box, 1.0, shapes["length"] + shapes["end_radius"])
    corners = np.stack(
        [np.stack([x * side, y * side, z], axis=-1) for x in (-1, 1) for y in (-1, 1) for z in (bottom, top)], axis=1
    )  # (shapes, 8, 3)
    world = corners @ np.swapaxes(shapes["world_from_local"], -1, -2) + shapes["centre"][:, None]
    corners_px = camera.project(world)  # (shapes, 8, 2)
    return np.concatenate([corners_px.min(axis=1) - 2, corners_px.max(axis=1) + 2], axis=-1)


def draw(
    colour: np.ndarray,
    depth: np.ndarray,
    owner: np.ndarray,
    *,
    rays: np.ndarray,
    corner: tuple[float, float],
    step: float,
    shapes: np.ndarray,
    materials: np.ndarray,
    lamp: np.ndarray,
    camera: Camera,
) -> None:
    """Draw shapes into an image, in place, wherever they are nearer than its content.

    Args:
        colour: (height, width, 3) float32.
        depth: (height, width) float32, mm along the camera's axis.
        owner: (height, width) uint8, BACKGROUND, PERSON or THING.
        rays: (height, width, 2) from `rays_of`, for the same grid.
        corner: px of the image, the grid's first point.
        step: px of the image between the grid's points.
        shapes, materials: (shapes,) of SHAPE and MATERIAL.
        lamp: a record of LIGHT.
        camera: whose image.
    """
    height, width = depth.shape
    regions = regions_of(shapes, camera)
    ahead = np.isfinite(regions).all(axis=-1)
    # A shape that reaches behind the camera (a wall, the floor) may be anywhere in the image.
    regions = np.where(ahead[:, None], regions, [-1e6, -1e6, 1e6, 1e6])
    windows = np.column_stack(
        [
            np.clip(np.floor((regions[:, 0] - corner[0]) / step), 0, width),
            np.clip(np.floor((regions[:, 1] - corner[1]) / step), 0, height),
            np.clip(np.ceil((regions[:, 2] - corner[0]) / step) + 1, 0, width),
            np.clip(np.ceil((regions[:, 3] - corner[1]) / step) + 1, 0, height),
        ]
    ).astype(np.int64)
    local_from_world = np.linalg.inv(shapes["world_from_local"])
    local_from_camera = local_from_world @ camera.R.T
    eyes = np.einsum("sij,sj->si", local_from_world, camera.centre - shapes["centre"])
    _draw(
        colour, depth, owner, rays, windows, shapes, materials, np.array([lamp]),
        local_from_camera, local_from_world, eyes, np.ascontiguousarray(camera.R.T), camera.centre,
    )  # fmt: skip


@njit(cache=True)
def _draw(
    colour,
    depth,
    owner,
    rays,
    windows,
    shapes,
    materials,
    lamps,
    local_from_camera,
    local_from_world,
    eyes,
    turn,
    centre,
):
    lamp = lamps[0]
    for index in range(len(shapes)):
        shape, material = shapes[index], materials[index]
        m, back, eye = local_from_camera[index], local_from_world[index], eyes[index]
        length, start, end = shape.length, shape.start_radius, shape.end_radius
        texture, origin = shape.texture_from_world, shape.texture_origin
        taper = start - end
        for row in range(windows[index, 1], windows[index, 3]):
            for column in range(windows[index, 0], windows[index, 2]):
                x, y = rays[row, column, 0], rays[row, column, 1]
                ux = m[0, 0] * x + m[0, 1] * y + m[0, 2]
                uy = m[1, 0] * x + m[1, 1] * y + m[1, 2]
                uz = m[2, 0] * x + m[2, 1] * y + m[2, 2]
                if shape.kind != BOX:
                    is_open = shape.kind == SKIRT
                    t, nx, ny, nz = _hit_cone(ux, uy, uz, eye[0], eye[1], eye[2], length, start, taper, is_open)
                else:
                    t, nx, ny, nz = _hit_box(ux, uy, uz, eye[0], eye[1], eye[2])
                if t <= 10.0 or t >= depth[row, column]:
                    continue
                # Normals are covectors: world_normal = local_from_world^T local_normal.
                wx = back[0, 0] * nx + back[1, 0] * ny + back[2, 0] * nz
                wy = back[0, 1] * nx + back[1, 1] * ny + back[2, 1] * nz
                wz = back[0, 2] * nx + back[1, 2] * ny + back[2, 2] * nz
                norm = math.sqrt(wx * wx + wy * wy + wz * wz) + 1e-12
                wx, wy, wz = wx / norm, wy / norm, wz / norm
                dx = turn[0, 0] * x + turn[0, 1] * y + turn[0, 2]
                dy = turn[1, 0] * x + turn[1, 1] * y + turn[1, 2]
                dz = turn[2, 0] * x + turn[2, 1] * y + turn[2, 2]
                px = centre[0] + t * dx - origin[0]
                py = centre[1] + t * dy - origin[1]
                pz = centre[2] + t * dz - origin[2]
                qx = texture[0, 0] * px + texture[0, 1] * py + texture[0, 2] * pz
                qy = texture[1, 0] * px + texture[1, 1] * py + texture[1, 2] * pz
                qz = texture[2, 0] * px + texture[2, 1] * py + texture[2, 2] * pz
                red, green, blue, gloss = _surface(material, qx, qy, qz)
                facing = wx * lamp.towards[0] + wy * lamp.towards[1] + wz * lamp.towards[2]
                diffuse = 0.12 + 0.88 * max(0.0, 0.15 + 0.85 * facing)
                sky = lamp.ground + (1.0 - lamp.ground) * (0.5 + 0.5 * wz)
                view = math.sqrt(dx * dx + dy * dy + dz * dz)
                # Blinn-Phong half vector between the lamp and the eye.
                hx = lamp.towards[0] - dx / view
                hy = lamp.towards[1] - dy / view
                hz = lamp.towards[2] - dz / view
                half = math.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
                shine = max(0.0, (wx * hx + wy * hy + wz * hz) / half)
                shine = shine * shine
                shine = shine * shine
                shine = gloss * shine * shine * shine
                # Skin and cloth darken towards the rim, where the eye looks along the surface.
                rim = -(wx * dx + wy * dy + wz * dz) / view
                edge = 0.72 + 0.28 * min(1.0, 1.6 * max(0.0, rim))
                for channel in range(3):
                    base = red if channel == 0 else (green if channel == 1 else blue)
                    direct = (1.0 - lamp.share) * diffuse * lamp.colour[channel]
                    value = base * edge * (direct + lamp.share * sky * lamp.ambient[channel])
                    colour[row, column, channel] = value + shine * lamp.colour[channel] * (1.0 - lamp.share)
                depth[row, column] = t
                owner[row, column] = shape.owner


@njit(cache=True, inline="always")
def _hit_cone(ux, uy, uz, ex, ey, ez, length, start, taper, is_open):
    """Return the first hit of the ray e + t u with the union of spheres at (0, 0, s length), radius start - s taper, s in [0, 1].

    On the envelope of those spheres the squared distance to the sphere is stationary in s; putting the stationary s
    back gives a quadratic in t. Where its s leaves [0, 1], the ray meets one of the two end spheres. A skirt has
    no end sphere.
    """
    uu = ux * ux + uy * uy + uz * uz
    ue = ux * ex + uy * ey + uz * ez
    ee = ex * ex + ey * ey + ez * ez
    spread = length * length - taper * taper
    if length > 0.0 and spread > 0.0:
        along = length * uz
        offset = length * ez - taper * start
        a = spread * uu - along * along
        b = spread * ue - along * offset
        c = spread * (ee - start * start) - offset * offset
        root = b * b - a * c
        if root > 0.0 and a > 1e-9:
            t = (-b - math.sqrt(root)) / a
            s = (t * along + offset) / spread
            if 0.0 <= s <= 1.0:
                return t, ex + t * ux, ey + t * uy, ez + t * uz - s * length
    best, away = 1e30, 0.0
    root = ue * ue - uu * (ee - start * start)
    if root > 0.0:
        best = (-ue - math.sqrt(root)) / uu
    if length > 0.0 and not is_open:
        fz = ez - length
        end = start - taper
        uf = ux * ex + uy * ey + uz * fz
        root = uf * uf - uu * (ex * ex + ey * ey + fz * fz - end * end)
        if root > 0.0:
            t = (-uf - math.sqrt(root)) / uu
            if t < best:
                best, away = t, length
    if best > 1e29:
        return -1.0, 0.0, 0.0, 0.0
    return best, ex + best * ux, ey + best * uy, ez + best * uz - away


@njit(cache=True, inline="always")
def _hit_box(ux, uy, uz, ex, ey, ez):
    """Return the first hit of the ray e + t u with the cube [-1, 1]^3, from outside."""
    enter, leave, axis = -1e30, 1e30, 0
    for i in range(3):
        u = ux if i == 0 else (uy if i == 1 else uz)
        e = ex if i == 0 else (ey if i == 1 else ez)
        if abs(u) < 1e-12:
            if abs(e) > 1.0:
                return -1.0, 0.0, 0.0, 0.0
            continue
        near, far = (-1.0 - e) / u, (1.0 - e) / u
        if near > far:
            near, far = far, near
        if near > enter:
            enter, axis = near, i
        leave = min(leave, far)
    if enter > leave:
        return -1.0, 0.0, 0.0, 0.0
    sign = ux if axis == 0 else (uy if axis == 1 else uz)
    sign = -1.0 if sign > 0 else 1.0
    return (enter, sign if axis == 0 else 0.0, sign if axis == 1 else 0.0, sign if axis == 2 else 0.0)


@njit(cache=True)
def _scramble(i, j, k):
    """Return a number in [0, 1) for a lattice point, equal on every machine (integer arithmetic only)."""
    h = (i * 374761393 + j * 668265263 + k * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1103515245) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 1597334677) & 0xFFFFFFFF
    return ((h ^ (h >> 15)) & 0xFFFFFF) / 16777216.0


@njit(cache=True)
def noise(x, y, z):
    """Return smooth noise in [0, 1] with a feature size of 1: random lattice values, blended by smoothstep."""
    i, j, k = math.floor(x), math.floor(y), math.floor(z)
    fx, fy, fz = x - i, y - j, z - k
    fx, fy, fz = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy), fz * fz * (3 - 2 * fz)
    i, j, k = int(i), int(j), int(k)
    low = (1 - fy) * ((1 - fx) * _scramble(i, j, k) + fx * _scramble(i + 1, j, k)) + fy * (
        (1 - fx) * _scramble(i, j + 1, k) + fx * _scramble(i + 1, j + 1, k)
    )
    high = (1 - fy) * ((1 - fx) * _scramble(i, j, k + 1) + fx * _scramble(i + 1, j, k + 1)) + fy * (
        (1 - fx) * _scramble(i, j + 1, k + 1) + fx * _scramble(i + 1, j + 1, k + 1)
    )
    return (1 - fz) * low + fz * high


@njit(cache=True)
def _surface(material, x, y, z):
    """Return colour and gloss of a material at texture coordinates in mm (x right, y forward, z up or along the limb)."""
    kind, pattern, period, phase = (material.kind, material.pattern, material.period, material.phase)
    numbers, gloss = material.numbers, material.gloss
    choice = 0  # 0 base, 1 second, 2 third
    blend = 0.0  # of base towards second
    if pattern != SOLID:
        # The angle times a usual radius stands for the arc length on a limb or a torso.
        arc = math.atan2(x, y) * (140.0 if kind == FRONT else 60.0)
        if pattern == RINGS:
            blend = 1.0 if (z + phase) % period < 0.45 * period else 0.0
        elif pattern == STRIPES:
            blend = 1.0 if arc % period < 0.35 * period else 0.0
        elif pattern == CHECKS:
            one = arc % period < 0.5 * period
            two = (z + phase) % period < 0.5 * period
            blend = 1.0 if one != two else 0.0
        elif pattern == PLAID:
            one = arc % period < 0.4 * period
            two = (z + phase) % period < 0.4 * period
            blend = 0.5 * one + 0.5 * two
        else:
            blend = 1.0 if noise(x / period + phase, y / period, z / period) > 0.55 else 0.0
    if kind == CUT:
        if z > numbers[0]:
            choice = 2
    elif kind == FRONT:
        front = material.front
        if y > 0.0:
            across = abs(x)
            if front == V_NECK:
                if z > numbers[1] and across < numbers[0] * (z - numbers[1]):
                    choice = 2
            elif front == OPEN_JACKET:
                if across < numbers[0] + 0.08 * z:
                    choice = 2
            elif front == PLACKET:
                if across < numbers[0]:
                    choice = 2
            elif front == PRINT:
                bar = 0.45 < (z - numbers[1]) / (numbers[2] - numbers[1]) < 0.6
                choice = 2 if across < numbers[0] and numbers[1] < z < numbers[2] and not bar else 0
    elif kind == FACE:
        return _face(material, x, y, z)
    elif kind == TILES:
        one, two = math.floor(x / period), math.floor(y / period)
        shift = _scramble(int(one), int(two), int(phase)) - 0.5
        fx, fy = x / period - one, y / period - two
        seam = numbers[0] if min(fx, 1.0 - fx, fy, 1.0 - fy) < 0.025 else 1.0
        blend = min(1.0, max(0.0, 0.5 + numbers[1] * shift))
        gloss = 0.0
    red, green, blue = material.base[0], material.base[1], material.base[2]
    if choice == 2:
        red, green, blue = material.third[0], material.third[1], material.third[2]
    elif blend > 0.0:
        red += blend * (material.second[0] - red)
        green += blend * (material.second[1] - green)
        blue += blend * (material.second[2] - blue)
    scale = 1.0
    if kind == TILES:
        scale = seam
    if material.grain > 0.0:
        folds = noise(x / 45.0 + phase, y / 45.0 - phase, z / 70.0)
        weave = noise(x / 9.0, y / 9.0 + phase, z / 9.0)
        scale *= 1.0 + material.grain * (1.3 * (folds - 0.5) + 0.5 * (weave - 0.5))
    return red * scale, green * scale, blue * scale, gloss


@njit(cache=True)
def _face(material, x, y, z):
    """Return colour and gloss of a face on the unit head: x right, y forward, z up, each in [-1, 1].

    The material's numbers: z of the hair's begin and end, 1 for a beard, 1 for a bald head, the smile's strength.
    """
    hair_line, hair_end, beard, bald, smile = (
        material.numbers[0], material.numbers[1], material.numbers[2], material.numbers[3], material.numbers[4],
    )  # fmt: skip
    red, green, blue = material.base[0], material.base[1], material.base[2]
    gloss = material.gloss
    mottle = 1.0 + 0.10 * (noise(3.0 * x + material.phase, 3.0 * y, 3.0 * z) - 0.5)
    red, green, blue = red * mottle, green * mottle, blue * mottle
    across = abs(x)
    hairy = bald < 0.5 and (
        z > hair_line + 0.12 * across or (y < 0.12 - 0.1 * across and z > hair_end) or (across > 0.80 and z > 0.05)
    )
    if hairy:
        strand = 0.8 + 0.4 * noise(9.0 * x, 9.0 * y, 3.0 * z + material.phase)
        return (material.third[0] * strand, material.third[1] * strand, material.third[2] * strand, 0.08)
    if y > 0.2:
        eye_x, eye_z = (across - 0.36) / 0.17, (z - 0.10) / 0.10
        iris_x, iris_z = (across - 0.36) / 0.08, (z - 0.10) / 0.10
        if iris_x * iris_x + iris_z * iris_z < 1.0:
            return 0.06, 0.05, 0.05, 0.3
        if eye_x * eye_x + eye_z * eye_z < 1.0:
            return 0.90, 0.88, 0.86, 0.2
        if abs(across - 0.37) < 0.22 and abs(z - 0.30 + 0.15 * abs(across - 0.37)) < 0.055:
            return (0.6 * material.third[0], 0.6 * material.third[1], 0.6 * material.third[2], 0.0)
        socket = math.exp(-(eye_x * eye_x + eye_z * eye_z) / 5.0)
        red, green, blue = (red * (1 - 0.22 * socket), green * (1 - 0.25 * socket), blue * (1 - 0.25 * socket))
        lips = z + 0.50 + smile * (0.25 - across)
        if across < 0.30 and abs(lips) < 0.075 * (1.0 - across / 0.45):
            return 0.62 * red + 0.08, 0.42 * green, 0.42 * blue, 0.1
        if beard > 0.5 and z < -0.30 - 0.2 * (0.5 - across) * (across < 0.3):
            return (0.8 * material.third[0], 0.8 * material.third[1], 0.8 * material.third[2], 0.0)
        cheek = math.exp(-((across - 0.50) ** 2 + (z + 0.25) ** 2) / 0.05)
        red, green, blue = (red * (1 + 0.06 * cheek), green * (1 - 0.08 * cheek), blue * (1 - 0.08 * cheek))
    return red, green, blue, gloss
