"""Robust triangulation: which views agree on a joint, and where it is by what they say.

Every pair of views is a hypothesis, so there is no chance in it, and any number of views will do.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from pipeline.geometry.camera import Camera

# Status of a joint, the numbers of files/poses.py `Status`.
KNOWN, TOO_FEW_VIEWS, NO_AGREEMENT, RAYS_PARALLEL, BEHIND_CAMERA = range(5)

# With more candidate views than this, only pairs among the most confident ones are tried: pairs grow with the square of
# the views, each is compared with all views, and 28 pairs find what there is to find.
PAIRED_VIEWS = 8

_NEWTON_STEPS = 8  # of the undistortion, as in camera.py
_REFINING_STEPS = 10  # at most; usually 3


@dataclass(frozen=True, eq=False)
class Triangulated:
    """Joints and the views that agree on them.

    Attributes:
        joints: (frames, joints, 3) world mm; NaN where not known.
        inliers: (frames, views, joints) bool.
        error: (frames, joints) px, mean reprojection error of the inliers; NaN where not known.
        status: (frames, joints) uint8, KNOWN or why not.
    """

    joints: np.ndarray
    inliers: np.ndarray
    error: np.ndarray
    status: np.ndarray


def triangulate(
    points: np.ndarray,
    scores: np.ndarray,
    cameras: tuple[Camera, ...],
    *,
    confidence_threshold: float,
    reproj_threshold_px: float,
    min_inliers: int,
    min_ray_angle_deg: float,
) -> Triangulated:
    """Triangulate joints from the views that agree: exhaustive-pair RANSAC, refitted on its inliers.

    Each pair of candidate views makes a hypothesis; a view supports it when the joint lies in front of the camera and
    is shown less than the threshold from what the view detected, in px of the picture, lens distortion included. Views
    below the confidence threshold make no hypotheses, but support them like any other. The hypothesis with most
    supporters wins, among equals the one with the smaller sum of min(error^2, threshold^2). The point is then moved to
    where its inliers' squared reprojection errors are least (DLT, Gauss-Newton), and inliers gained by that join.

    Args:
        points: (frames, views, joints, 2) px of the full picture; NaN where not seen.
        scores: (frames, views, joints); a view with a score above `confidence_threshold` is a candidate.
        cameras: one a view.
        confidence_threshold: of a candidate's score, strict.
        reproj_threshold_px: of an inlier's error, strict.
        min_inliers: a joint with fewer stays unknown; at least 2.
        min_ray_angle_deg: the widest angle between two inliers' rays must not be smaller, nor closer to 180 degrees.

    Returns:
        Positions, inliers, errors and statuses; NaN wherever the status is not KNOWN.
    """
    frames, views, joints, _ = points.shape
    found = Triangulated(
        np.full((frames, joints, 3), np.nan),
        np.zeros((frames, views, joints), dtype=bool),
        np.full((frames, joints), np.nan),
        np.zeros((frames, joints), dtype=np.uint8),
    )
    _triangulate_all(
        np.ascontiguousarray(points, dtype=np.float64),
        np.ascontiguousarray(scores, dtype=np.float64),
        np.stack([_lens(camera) for camera in cameras]),
        float(confidence_threshold),
        float(reproj_threshold_px),
        int(min_inliers),
        float(np.sin(np.deg2rad(min_ray_angle_deg))),
        found.joints,
        found.inliers,
        found.error,
        found.status,
    )
    return found


# The places of a camera's numbers in the row that the compiled code reads.
_FX, _SKEW, _CX, _FY, _CY = range(5)
_ROTATION, _CENTRE = 5, 14
_K1, _K2, _P1, _P2, _K3, _TANGENTIAL, _REACH = range(17, 24)


def _lens(camera: Camera) -> np.ndarray:
    """(24,) a camera as a row of numbers."""
    (fx, skew, cx), (_, fy, cy) = camera.K[:2]
    tangential = 2.0 if camera.convention == "opencv" else 1.0
    return np.array(
        [fx, skew, cx, fy, cy, *camera.R.ravel(), *camera.centre, *camera.distortion, tangential, camera.reach**2]
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _triangulate_all(
    points, scores, lenses, confidence_threshold, threshold, min_inliers, min_sine, joints, inliers, error, status
):
    frames, views, count, _ = points.shape
    squared_threshold = threshold * threshold
    origin = np.zeros(3)  # near everything, for the sake of the normal equations
    for view in range(views):
        for k in range(3):
            origin[k] += lenses[view, _CENTRE + k] / views
    equations = np.zeros((views, 9))
    seen = np.zeros(views, dtype=np.bool_)
    paired = np.zeros(min(views, PAIRED_VIEWS), dtype=np.int64)
    supports = np.zeros(views, dtype=np.bool_)
    best = np.zeros(views, dtype=np.bool_)
    for frame in range(frames):
        for joint in range(count):
            pixels = points[frame, :, joint]
            visible = 0
            for view in range(views):
                seen[view] = _ray_equations(pixels[view], lenses[view], origin, equations[view])
                visible += seen[view]
            pairs = _candidates(scores[frame, :, joint], seen, confidence_threshold, paired)
            if pairs < 2 or visible < min_inliers:
                status[frame, joint] = TOO_FEW_VIEWS
                continue

            best_count, best_cost = 0, np.inf
            best_x, best_y, best_z = np.nan, np.nan, np.nan
            behind, parallel = True, False
            for i in range(pairs):
                for k in range(i + 1, pairs):
                    supports[:] = False
                    supports[paired[i]] = True
                    supports[paired[k]] = True
                    x, y, z = _intersect(equations, supports, origin)
                    if not np.isfinite(x):
                        parallel = True
                        continue
                    ahead = _depth(lenses[paired[i]], x, y, z) > 0 and _depth(lenses[paired[k]], x, y, z) > 0
                    behind = behind and not ahead
                    number, cost = _support(pixels, seen, lenses, x, y, z, squared_threshold, supports)
                    if number < min_inliers or number < best_count or (number == best_count and cost >= best_cost):
                        continue
                    if _widest_sine(lenses, supports, x, y, z) < min_sine:
                        parallel = True
                        continue
                    best_count, best_cost = number, cost
                    best_x, best_y, best_z = x, y, z
                    best[:] = supports
            if best_count == 0:
                status[frame, joint] = RAYS_PARALLEL if parallel else BEHIND_CAMERA if behind else NO_AGREEMENT
                continue

            x, y, z = _refit(pixels, lenses, equations, best, origin, best_x, best_y, best_z)
            while True:  # each turn takes in at least one view more
                number, cost = _support(pixels, seen, lenses, x, y, z, squared_threshold, supports)
                if number <= best_count:
                    break
                best_count = number
                best[:] = supports
                x, y, z = _refit(pixels, lenses, equations, best, origin, x, y, z)

            total = 0.0
            for view in range(views):
                inliers[frame, view, joint] = best[view]
                if best[view]:
                    total += np.sqrt(_squared_error(pixels[view], lenses[view], x, y, z))
            joints[frame, joint, 0], joints[frame, joint, 1], joints[frame, joint, 2] = x, y, z
            error[frame, joint] = total / best_count
            status[frame, joint] = KNOWN


@njit(cache=True, nogil=True, error_model="numpy")
def _distort(lens, x, y):
    """Distorted normalised point and the four derivatives of it: dx/dx, dx/dy, dy/dx, dy/dy."""
    squared = x * x + y * y
    radial = 1 + squared * (lens[_K1] + squared * (lens[_K2] + squared * lens[_K3]))
    slope = lens[_K1] + squared * (2 * lens[_K2] + squared * 3 * lens[_K3])
    p1, p2, factor = lens[_P1], lens[_P2], lens[_TANGENTIAL]
    scale = radial + factor * (p1 * y + p2 * x)
    scale_x, scale_y = 2 * x * slope + factor * p2, 2 * y * slope + factor * p1
    return (
        x * scale + p2 * squared,
        y * scale + p1 * squared,
        scale + x * scale_x + 2 * p2 * x,
        x * scale_y + 2 * p2 * y,
        y * scale_x + 2 * p1 * x,
        scale + y * scale_y + 2 * p1 * y,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _undistort(lens, u, v):
    """Picture px -> undistorted normalised point; NaN where the lens model has none."""
    y_seen = (v - lens[_CY]) / lens[_FY]
    x_seen = (u - lens[_CX] - lens[_SKEW] * y_seen) / lens[_FX]
    x, y = x_seen, y_seen
    for _ in range(_NEWTON_STEPS):
        x_found, y_found, xx, xy, yx, yy = _distort(lens, x, y)
        off_x, off_y = x_found - x_seen, y_found - y_seen
        if off_x * off_x + off_y * off_y < 1e-28:
            break
        determinant = xx * yy - xy * yx
        if abs(determinant) < 1e-6:
            return np.nan, np.nan
        x -= (yy * off_x - xy * off_y) / determinant
        y -= (xx * off_y - yx * off_x) / determinant
    x_found, y_found, _, _, _, _ = _distort(lens, x, y)
    off = (x_found - x_seen) ** 2 + (y_found - y_seen) ** 2
    if not off < 1e-12 or x * x + y * y > lens[_REACH]:
        return np.nan, np.nan
    return x, y


@njit(cache=True, nogil=True, error_model="numpy")
def _ray_equations(pixel, lens, origin, equations):
    """What a view says about the joint's place, as normal equations: 6 of the symmetric matrix, 3 of the right side.

    The rows are the DLT's, `f (x r3 - r1) (X - centre) = 0` and the same in y: depth times px. False where nothing was
    seen.
    """
    if not (np.isfinite(pixel[0]) and np.isfinite(pixel[1])):
        return False
    x, y = _undistort(lens, pixel[0], pixel[1])
    if not np.isfinite(x):
        return False
    equations[:] = 0
    for row in range(2):
        focal = lens[_FX] if row == 0 else lens[_FY]
        across = x if row == 0 else y
        a = focal * (across * lens[_ROTATION + 6] - lens[_ROTATION + 3 * row])
        b = focal * (across * lens[_ROTATION + 7] - lens[_ROTATION + 3 * row + 1])
        c = focal * (across * lens[_ROTATION + 8] - lens[_ROTATION + 3 * row + 2])
        right = (
            a * (lens[_CENTRE] - origin[0]) + b * (lens[_CENTRE + 1] - origin[1]) + c * (lens[_CENTRE + 2] - origin[2])
        )
        equations[0] += a * a
        equations[1] += a * b
        equations[2] += a * c
        equations[3] += b * b
        equations[4] += b * c
        equations[5] += c * c
        equations[6] += a * right
        equations[7] += b * right
        equations[8] += c * right
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _solve(m):
    """Solve a symmetric 3x3 system (6 of the matrix, 3 of the right side); NaN when it does not fix a point."""
    a = m[3] * m[5] - m[4] * m[4]
    b = m[2] * m[4] - m[1] * m[5]
    c = m[1] * m[4] - m[2] * m[3]
    determinant = m[0] * a + m[1] * b + m[2] * c
    trace = m[0] + m[3] + m[5]
    if not determinant > 1e-13 * trace * trace * trace:
        return np.nan, np.nan, np.nan
    d = m[0] * m[5] - m[2] * m[2]
    e = m[1] * m[2] - m[0] * m[4]
    f = m[0] * m[3] - m[1] * m[1]
    return (
        (a * m[6] + b * m[7] + c * m[8]) / determinant,
        (b * m[6] + d * m[7] + e * m[8]) / determinant,
        (c * m[6] + e * m[7] + f * m[8]) / determinant,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _intersect(equations, chosen, origin):
    """Where the chosen views' rays meet in the least-squares sense (DLT); NaN for parallel ones."""
    total = np.zeros(9)
    for view in range(len(chosen)):
        if chosen[view]:
            for k in range(9):
                total[k] += equations[view, k]
    x, y, z = _solve(total)
    return x + origin[0], y + origin[1], z + origin[2]


@njit(cache=True, nogil=True, error_model="numpy")
def _depth(lens, x, y, z):
    return (
        lens[_ROTATION + 6] * (x - lens[_CENTRE])
        + lens[_ROTATION + 7] * (y - lens[_CENTRE + 1])
        + lens[_ROTATION + 8] * (z - lens[_CENTRE + 2])
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _residual(pixel, lens, x, y, z):
    """Shown minus seen, px, and its derivatives by x, y, z of the world: (2,) and (2, 3), flat; infinite behind."""
    dx, dy, dz = x - lens[_CENTRE], y - lens[_CENTRE + 1], z - lens[_CENTRE + 2]
    r = lens[_ROTATION : _ROTATION + 9]
    depth = r[6] * dx + r[7] * dy + r[8] * dz
    if not depth > 0:
        return np.inf, np.inf, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    a = (r[0] * dx + r[1] * dy + r[2] * dz) / depth
    b = (r[3] * dx + r[4] * dy + r[5] * dz) / depth
    if a * a + b * b > lens[_REACH]:
        return np.inf, np.inf, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    p, q, pa, pb, qa, qb = _distort(lens, a, b)
    fx, skew, fy = lens[_FX], lens[_SKEW], lens[_FY]
    ua, ub, va, vb = fx * pa + skew * qa, fx * pb + skew * qb, fy * qa, fy * qb
    ax, ay, az = (r[0] - a * r[6]) / depth, (r[1] - a * r[7]) / depth, (r[2] - a * r[8]) / depth
    bx, by, bz = (r[3] - b * r[6]) / depth, (r[4] - b * r[7]) / depth, (r[5] - b * r[8]) / depth
    return (
        fx * p + skew * q + lens[_CX] - pixel[0],
        fy * q + lens[_CY] - pixel[1],
        ua * ax + ub * bx,
        ua * ay + ub * by,
        ua * az + ub * bz,
        va * ax + vb * bx,
        va * ay + vb * by,
        va * az + vb * bz,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _squared_error(pixel, lens, x, y, z):
    u, v, _, _, _, _, _, _ = _residual(pixel, lens, x, y, z)
    return u * u + v * v


@njit(cache=True, nogil=True, error_model="numpy")
def _support(pixels, seen, lenses, x, y, z, squared_threshold, supports):
    """How many views agree with a point, and the sum of min(error^2, threshold^2); `supports` becomes which."""
    number, cost = 0, 0.0
    for view in range(len(seen)):
        supports[view] = False
        if seen[view]:
            squared = _squared_error(pixels[view], lenses[view], x, y, z)
            supports[view] = squared < squared_threshold
            number += supports[view]
            cost += min(squared, squared_threshold)
    return number, cost


@njit(cache=True, nogil=True, error_model="numpy")
def _widest_sine(lenses, chosen, x, y, z):
    """Sine of the angle between the two chosen views' rays that is nearest to a right one."""
    widest = 0.0
    for i in range(len(chosen)):
        if not chosen[i]:
            continue
        ax, ay, az = x - lenses[i, _CENTRE], y - lenses[i, _CENTRE + 1], z - lenses[i, _CENTRE + 2]
        for k in range(i + 1, len(chosen)):
            if not chosen[k]:
                continue
            bx, by, bz = x - lenses[k, _CENTRE], y - lenses[k, _CENTRE + 1], z - lenses[k, _CENTRE + 2]
            cx, cy, cz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
            lengths = (ax * ax + ay * ay + az * az) * (bx * bx + by * by + bz * bz)
            widest = max(widest, (cx * cx + cy * cy + cz * cz) / lengths)
    return np.sqrt(widest)


@njit(cache=True, nogil=True, error_model="numpy")
def _candidates(scores, seen, confidence_threshold, paired):
    """Write the views that make hypotheses into `paired`, the most confident ones, in their order; returns how many."""
    number = 0
    for view in range(len(seen)):
        if not seen[view] or not scores[view] > confidence_threshold:
            continue
        if number < len(paired):
            paired[number] = view
            number += 1
            continue
        weakest = 0
        for i in range(1, number):  # among equals the last one gives way
            if scores[paired[i]] <= scores[paired[weakest]]:
                weakest = i
        if scores[view] > scores[paired[weakest]]:
            paired[weakest:-1] = paired[weakest + 1 :].copy()
            paired[-1] = view
    return number


@njit(cache=True, nogil=True, error_model="numpy")
def _fit_cost(pixels, lenses, chosen, x, y, z):
    cost = 0.0
    for view in range(len(chosen)):
        if chosen[view]:
            cost += _squared_error(pixels[view], lenses[view], x, y, z)
    return cost


@njit(cache=True, nogil=True, error_model="numpy")
def _refit(pixels, lenses, equations, chosen, origin, x, y, z):
    """The point with the least squared reprojection error in the chosen views, from their DLT by Gauss-Newton."""
    cost = _fit_cost(pixels, lenses, chosen, x, y, z)
    dlt_x, dlt_y, dlt_z = _intersect(equations, chosen, origin)
    dlt_cost = _fit_cost(pixels, lenses, chosen, dlt_x, dlt_y, dlt_z)
    if dlt_cost < cost:
        x, y, z, cost = dlt_x, dlt_y, dlt_z, dlt_cost
    normal = np.zeros(9)
    for _ in range(_REFINING_STEPS):
        normal[:] = 0
        for view in range(len(chosen)):
            if chosen[view]:
                u, v, ux, uy, uz, vx, vy, vz = _residual(pixels[view], lenses[view], x, y, z)
                normal[0] += ux * ux + vx * vx
                normal[1] += ux * uy + vx * vy
                normal[2] += ux * uz + vx * vz
                normal[3] += uy * uy + vy * vy
                normal[4] += uy * uz + vy * vz
                normal[5] += uz * uz + vz * vz
                normal[6] -= ux * u + vx * v
                normal[7] -= uy * u + vy * v
                normal[8] -= uz * u + vz * v
        dx, dy, dz = _solve(normal)
        new_cost = _fit_cost(pixels, lenses, chosen, x + dx, y + dy, z + dz)
        if not new_cost < cost:
            break
        x, y, z, cost = x + dx, y + dy, z + dz, new_cost
        if dx * dx + dy * dy + dz * dz < 1e-12:
            break
    return x, y, z
