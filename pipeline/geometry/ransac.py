"""Robust triangulation: which views agree on a joint, and its position from those views.

Every pair of views is a hypothesis, so the result is deterministic, and any number of views is possible.

The compiled code works on _LANES joints at a time, in arrays with the joints last, so that each inner loop is one run of
vector instructions without branches: joints differ only in masks. A joint's result does not depend on the other joints in its
block, nor on the number of threads.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pipeline.compiled import njit
from pipeline.geometry.camera import Camera
from pipeline.geometry.thresholds import AgreementThresholds
from pipeline.processors import num_processors

# Statuses of a joint: the numbers of the enumeration in files/poses.py.
KNOWN, TOO_FEW_VIEWS, NO_AGREEMENT, RAYS_PARALLEL, BEHIND_CAMERA = range(5)

# The number of pairs grows with the square of the views, and each pair is compared with all views. Up to PAIRED_VIEWS views all
# pairs are tried. Of more views the pairs of the most confident ones are tried first, then those of the next view, up to
# _PAIRED_AT_MOST views, as long as fewer than half of the views agree.
PAIRED_VIEWS = 8
_PAIRED_AT_MOST = 16

_LANES = 64
_FRAMES_PER_TASK = 128
_NEWTON_STEPS = 8  # of the undistortion, as in camera.py; usually 3
_REFINING_STEPS = 10  # at most; usually 3
_HUBER_STEPS = 20  # at most; usually 6, with steps down to 0.01 mm


@dataclass(frozen=True, eq=False)
class Triangulated:
    """Joints and the views that agree on them.

    Attributes:
        joints: (frames, joints, 3) world mm; NaN if unknown.
        inliers: (frames, views, joints) bool.
        error_px: (frames, joints) mean reprojection error of the inliers; NaN if unknown.
        status: (frames, joints) uint8, KNOWN or the reason.
    """

    joints: np.ndarray
    inliers: np.ndarray
    error_px: np.ndarray
    status: np.ndarray


def triangulate_ransac(
    keypoints: np.ndarray,
    scores: np.ndarray,
    cameras: tuple[Camera, ...],
    thresholds: AgreementThresholds,
    *,
    min_inliers: int = 2,
    huber_px: float | None = None,
    threads: int | None = None,
) -> Triangulated:
    """Return the joints that enough views agree on: exhaustive-pair RANSAC, refined on its inliers.

    Each pair of candidate views makes a hypothesis. A view supports it if the joint lies in front of the camera and its
    projection, with lens distortion, is less than `reproj_threshold_px` from the view's keypoint. Views below the confidence
    threshold make no hypotheses, but support them like any other view. The hypothesis with most supporters wins, among equals
    the one with the smaller sum of min(error^2, threshold^2). Gauss-Newton then minimises the inliers' squared reprojection
    errors, and views that become inliers join. Of more than eight views the pairs come in the order of confidence, and only
    until half of the views agree.

    Args:
        keypoints: (frames, views, joints, 2) px of the full image; NaN if not seen.
        scores: (frames, views, joints); a view with a score above `confidence_threshold` is a candidate.
        cameras: (views,).
        thresholds: when views agree. Both bounds on score and error are strict; the widest angle between two inliers' rays
            must not be smaller than `min_ray_angle_deg`, nor closer to 180 degrees.
        min_inliers: a joint with fewer inliers stays unknown; at least 2.
        huber_px: an inlier's larger error counts linearly, not squared (Huber 1964, by iteratively reweighted Gauss-Newton);
            None for plain least squares.
        threads: by default one per processor; the result is the same for any number.

    Returns:
        Positions, inliers, errors and statuses; NaN wherever the status is not KNOWN.
    """
    frames, views, joints, _ = keypoints.shape
    result = Triangulated(
        joints=np.full((frames, joints, 3), np.nan),
        inliers=np.zeros((frames, views, joints), dtype=bool),
        error_px=np.full((frames, joints), np.nan),
        status=np.zeros((frames, joints), dtype=np.uint8),
    )
    keypoints = np.ascontiguousarray(keypoints, dtype=np.float64)
    scores = np.ascontiguousarray(scores, dtype=np.float64)
    lenses = np.stack([lens(camera) for camera in cameras])
    origin = lenses[:, _CENTRE].mean(axis=0)  # near all joints, so that the normal equations lose no digits
    lenses[:, _CENTRE] -= origin
    angle_deg = thresholds.min_ray_angle_deg
    settings = (
        lenses,
        origin,
        float(thresholds.confidence_threshold),
        float(thresholds.reproj_threshold_px),
        int(min_inliers),
        float(np.cos(np.deg2rad(angle_deg)) ** 2) if angle_deg > 0 else np.inf,
        np.inf if huber_px is None else float(huber_px),
    )

    def triangulate_block(first: int) -> None:
        rows = slice(first, first + _FRAMES_PER_TASK)
        _triangulate_some(
            keypoints[rows],
            scores[rows],
            *settings,
            result.joints[rows],
            result.inliers[rows],
            result.error_px[rows],
            result.status[rows],
        )

    tasks = range(0, frames, _FRAMES_PER_TASK)
    workers = min(threads or num_processors(), len(tasks))
    if workers < 2:
        for first in tasks:
            triangulate_block(first)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(triangulate_block, tasks))  # the compiled code releases the interpreter's lock
    return result


_CENTRE = slice(14, 17)  # in a lens


def lens(camera: Camera) -> np.ndarray:
    """Return (24,) the numbers of a camera that the compiled code reads.

    From 0 fx, skew, cx, fy, cy; from 5 the rotation, row by row; from 14 the centre; from 17 k1, k2, p1, p2, k3, the factor of
    the tangential term, and the squared valid radius.
    """
    (fx, skew, cx), (_, fy, cy) = camera.K[:2]
    tangential = 2.0 if camera.convention == "opencv" else 1.0
    return np.array(
        [
            fx,
            skew,
            cx,
            fy,
            cy,
            *camera.R.ravel(),
            *camera.centre,
            *camera.distortion,
            tangential,
            camera.max_valid_radius**2,
        ]
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _triangulate_some(
    keypoints,
    scores,
    lenses,
    origin,
    confidence_threshold,
    threshold,
    min_inliers,
    max_squared_cosine,
    huber,
    joints,
    inliers,
    error,
    status,
):
    frames, views, count, _ = keypoints.shape
    squared_threshold = threshold * threshold
    pixels = np.zeros((views, 2, _LANES))
    seen = np.zeros((views, _LANES))
    confidence = np.zeros((views, _LANES))
    equations = np.zeros((views, 9, _LANES))
    slots = min(views, _PAIRED_AT_MOST)
    proposals = np.zeros((slots, 9, _LANES)) if views > PAIRED_VIEWS else equations
    proposing = np.zeros((slots, _LANES))
    normal = np.zeros((9, _LANES))
    position, trial = np.zeros((3, _LANES)), np.zeros((3, _LANES))
    squared, inside = np.zeros((views, _LANES)), np.zeros((views, _LANES))
    number, ahead, cost = np.zeros(_LANES), np.zeros(_LANES), np.zeros(_LANES)
    best_number, best_cost, held = np.zeros(_LANES), np.zeros(_LANES), np.zeros(_LANES)
    parallel, reachable, active = np.zeros(_LANES), np.zeros(_LANES), np.zeros(_LANES)

    for start in range(0, frames * count, _LANES):
        lanes = min(_LANES, frames * count - start)
        _load(keypoints, scores, start, lanes, pixels, seen, confidence)
        for view in range(views):
            _ray_equations(pixels[view], seen[view], lenses[view], equations[view], trial)
        _candidates(seen, confidence, confidence_threshold, equations, proposals, proposing)

        best_number[:] = 0
        best_cost[:] = np.inf
        parallel[:] = 0
        reachable[:] = 0
        for second in range(1, slots):
            if not _undecided(seen, best_number, second >= PAIRED_VIEWS, active):
                break
            for first in range(second):
                for k in range(9):
                    for n in range(_LANES):
                        normal[k, n] = proposals[first, k, n] + proposals[second, k, n]
                _solve(normal, trial)
                _support(pixels, seen, lenses, trial, squared_threshold, squared, number, ahead, cost)
                improved = 0
                for n in range(_LANES):
                    proposed = active[n] * proposing[first, n] * proposing[second, n] > 0
                    parallel[n] = 1.0 if proposed & np.isnan(trial[0, n]) else parallel[n]
                    reachable[n] = 1.0 if proposed & (ahead[n] >= min_inliers) else reachable[n]
                    more = (number[n] > best_number[n]) | ((number[n] == best_number[n]) & (cost[n] < best_cost[n]))
                    better = proposed & (number[n] >= min_inliers) & more
                    number[n] = number[n] if better else 0.0
                    improved += better
                if improved == 0:
                    continue
                _reject_narrow(lenses, trial, squared, squared_threshold, max_squared_cosine, number, parallel)
                for n in range(_LANES):
                    better = number[n] > 0
                    best_number[n] = number[n] if better else best_number[n]
                    best_cost[n] = cost[n] if better else best_cost[n]
                    position[0, n] = trial[0, n] if better else position[0, n]
                    position[1, n] = trial[1, n] if better else position[1, n]
                    position[2, n] = trial[2, n] if better else position[2, n]

        held[:] = 0
        while True:
            _support(pixels, seen, lenses, position, squared_threshold, squared, number, ahead, cost)
            if not _take_in(squared, squared_threshold, best_number, number, held, active, inside):
                break
            _descend(pixels, lenses, inside, 1e-10, active, position, trial, normal, cost)
        if huber < np.inf:
            _refine(pixels, lenses, inside, huber, held, position, trial, normal, squared, cost)

        for n in range(lanes):
            frame, joint = (start + n) // count, (start + n) % count
            if best_number[n] > 0:
                total = 0.0
                for view in range(views):
                    inliers[frame, view, joint] = inside[view, n] > 0
                    total += np.sqrt(squared[view, n]) if inside[view, n] > 0 else 0.0
                error[frame, joint] = total / held[n]
                for k in range(3):
                    joints[frame, joint, k] = position[k, n] + origin[k]
                continue
            visible, sure = 0, 0
            for view in range(views):
                visible += seen[view, n] > 0
                sure += (seen[view, n] > 0) & (confidence[view, n] > confidence_threshold)
            if sure < 2 or visible < min_inliers:
                status[frame, joint] = TOO_FEW_VIEWS
            elif parallel[n] > 0:
                status[frame, joint] = RAYS_PARALLEL
            else:
                status[frame, joint] = NO_AGREEMENT if reachable[n] > 0 else BEHIND_CAMERA


@njit(cache=True, nogil=True, error_model="numpy")
def _load(keypoints, scores, start, lanes, pixels, seen, confidence):
    """Load the next joints' keypoints, joints last; `seen` is 1 or 0."""
    views, count = keypoints.shape[1], keypoints.shape[2]
    frame, joint = start // count, start % count
    for n in range(_LANES):
        for view in range(views):
            u, v, known = 0.0, 0.0, False
            if n < lanes:
                u, v = keypoints[frame, view, joint, 0], keypoints[frame, view, joint, 1]
                known = np.isfinite(u) and np.isfinite(v)
                confidence[view, n] = scores[frame, view, joint]
            pixels[view, 0, n] = u if known else 0.0
            pixels[view, 1, n] = v if known else 0.0
            seen[view, n] = 1.0 if known else 0.0
        joint += 1
        if joint == count:
            frame, joint = frame + 1, 0


@njit(cache=True, nogil=True, error_model="numpy")
def _distort(k1, k2, p1, p2, k3, factor, x, y):
    """Return a distorted normalised point and its four derivatives: dx/dx, dx/dy, dy/dx, dy/dy."""
    squared = x * x + y * y
    radial = 1 + squared * (k1 + squared * (k2 + squared * k3))
    slope = k1 + squared * (2 * k2 + squared * 3 * k3)
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
def _ray_equations(pixels, seen, lens, equations, ray):
    """Compute a view's normal equations for the joints' positions: 6 of the symmetric matrix, 3 of the right side.

    The rows are the DLT's, `f (x r3 - r1) (X - centre) = 0` and the same in y: depth times px. A joint whose pixel lies
    outside the valid radius of the lens is no longer `seen`.
    """
    fx, skew, cx, fy, cy = lens[0], lens[1], lens[2], lens[3], lens[4]
    k1, k2, p1, p2, k3, factor, reach = lens[17], lens[18], lens[19], lens[20], lens[21], lens[22], lens[23]
    for n in range(_LANES):
        ray[1, n] = (pixels[1, n] - cy) / fy
        ray[0, n] = (pixels[0, n] - cx - skew * ray[1, n]) / fx
    for _ in range(_NEWTON_STEPS):
        left = 0
        for n in range(_LANES):
            y_seen = (pixels[1, n] - cy) / fy
            x_seen = (pixels[0, n] - cx - skew * y_seen) / fx
            x, y, xx, xy, yx, yy = _distort(k1, k2, p1, p2, k3, factor, ray[0, n], ray[1, n])
            residual_x, residual_y = x - x_seen, y - y_seen
            determinant = xx * yy - xy * yx
            far = residual_x * residual_x + residual_y * residual_y > 1e-26
            scale = 1 / determinant if abs(determinant) > 1e-6 else np.nan
            ray[0, n] -= (yy * residual_x - xy * residual_y) * scale if far else 0.0
            ray[1, n] -= (xx * residual_y - yx * residual_x) * scale if far else 0.0
            left += far
        if left == 0:
            break
    r0, r1, r2, r3, r4, r5, r6, r7, r8 = (
        lens[5],
        lens[6],
        lens[7],
        lens[8],
        lens[9],
        lens[10],
        lens[11],
        lens[12],
        lens[13],
    )
    tx, ty, tz = lens[14], lens[15], lens[16]
    for n in range(_LANES):
        x, y = ray[0, n], ray[1, n]
        x_shown, y_shown, _, _, _, _ = _distort(k1, k2, p1, p2, k3, factor, x, y)
        y_seen = (pixels[1, n] - cy) / fy
        residual_x, residual_y = x_shown - (pixels[0, n] - cx - skew * y_seen) / fx, y_shown - y_seen
        good = (seen[n] > 0) & (residual_x * residual_x + residual_y * residual_y < 1e-12) & (x * x + y * y <= reach)
        seen[n] = 1.0 if good else 0.0
        f, g = fx if good else 0.0, fy if good else 0.0
        x, y = x if good else 0.0, y if good else 0.0
        a, b, c = f * (x * r6 - r0), f * (x * r7 - r1), f * (x * r8 - r2)
        d, e, h = g * (y * r6 - r3), g * (y * r7 - r4), g * (y * r8 - r5)
        right_x, right_y = a * tx + b * ty + c * tz, d * tx + e * ty + h * tz
        equations[0, n] = a * a + d * d
        equations[1, n] = a * b + d * e
        equations[2, n] = a * c + d * h
        equations[3, n] = b * b + e * e
        equations[4, n] = b * c + e * h
        equations[5, n] = c * c + h * h
        equations[6, n] = a * right_x + d * right_y
        equations[7, n] = b * right_x + e * right_y
        equations[8, n] = c * right_x + h * right_y


@njit(cache=True, nogil=True, error_model="numpy")
def _candidates(seen, confidence, confidence_threshold, equations, proposals, proposing):
    """Choose the views that make hypotheses: `proposing` is 1 or 0, `proposals` are their equations.

    Up to PAIRED_VIEWS views keep their order; more views are sorted by confidence.
    """
    views, slots = len(seen), len(proposing)
    if views <= PAIRED_VIEWS:  # and `proposals` are the equations themselves
        for view in range(views):
            for n in range(_LANES):
                sure = (seen[view, n] > 0) & (confidence[view, n] > confidence_threshold)
                proposing[view, n] = 1.0 if sure else 0.0
        return
    order = np.zeros(slots + 1, dtype=np.int64)
    for n in range(_LANES):
        number = 0
        for view in range(views):
            if not seen[view, n] > 0 or not confidence[view, n] > confidence_threshold:
                continue
            slot = number
            while slot > 0 and confidence[order[slot - 1], n] < confidence[view, n]:
                order[slot] = order[slot - 1]
                slot -= 1
            order[slot] = view
            number = min(number + 1, slots)
        for slot in range(slots):
            proposing[slot, n] = 1.0 if slot < number else 0.0
            for k in range(9):
                proposals[slot, k, n] = equations[order[slot], k, n] if slot < number else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _undecided(seen, best_number, late, active):
    """Mark the joints that need further hypotheses: early all, later those with fewer than half of the views as inliers."""
    left = 0
    for n in range(_LANES):
        visible = 0.0
        for view in range(len(seen)):
            visible += seen[view, n]
        active[n] = 1.0 if not late or 2 * best_number[n] < visible else 0.0
        left += active[n] > 0
    return left


@njit(cache=True, nogil=True, error_model="numpy")
def _solve(m, position):
    """Solve symmetric 3x3 systems (6 of the matrix, 3 of the right side); NaN if a system is singular."""
    for n in range(_LANES):
        a = m[3, n] * m[5, n] - m[4, n] * m[4, n]
        b = m[2, n] * m[4, n] - m[1, n] * m[5, n]
        c = m[1, n] * m[4, n] - m[2, n] * m[3, n]
        determinant = m[0, n] * a + m[1, n] * b + m[2, n] * c
        trace = m[0, n] + m[3, n] + m[5, n]
        d = m[0, n] * m[5, n] - m[2, n] * m[2, n]
        e = m[1, n] * m[2, n] - m[0, n] * m[4, n]
        f = m[0, n] * m[3, n] - m[1, n] * m[1, n]
        scale = 1 / determinant if determinant > 1e-13 * trace * trace * trace else np.nan
        position[0, n] = (a * m[6, n] + b * m[7, n] + c * m[8, n]) * scale
        position[1, n] = (b * m[6, n] + d * m[7, n] + e * m[8, n]) * scale
        position[2, n] = (c * m[6, n] + e * m[7, n] + f * m[8, n]) * scale


@njit(cache=True, nogil=True, error_model="numpy")
def _squared_errors(pixels, lens, position, squared):
    """Compute squared distances, px^2, of projected positions from a view's keypoints; infinite if not visible."""
    fx, skew, cx, fy, cy = lens[0], lens[1], lens[2], lens[3], lens[4]
    r0, r1, r2, r3, r4, r5, r6, r7, r8 = (
        lens[5],
        lens[6],
        lens[7],
        lens[8],
        lens[9],
        lens[10],
        lens[11],
        lens[12],
        lens[13],
    )
    tx, ty, tz = lens[14], lens[15], lens[16]
    k1, k2, p1, p2, k3, factor, reach = lens[17], lens[18], lens[19], lens[20], lens[21], lens[22], lens[23]
    for n in range(_LANES):
        dx, dy, dz = position[0, n] - tx, position[1, n] - ty, position[2, n] - tz
        nearness = 1 / (r6 * dx + r7 * dy + r8 * dz)
        a, b = (r0 * dx + r1 * dy + r2 * dz) * nearness, (r3 * dx + r4 * dy + r5 * dz) * nearness
        p, q, _, _, _, _ = _distort(k1, k2, p1, p2, k3, factor, a, b)
        u, v = fx * p + skew * q + cx - pixels[0, n], fy * q + cy - pixels[1, n]
        squared[n] = u * u + v * v if (nearness > 0) & (a * a + b * b <= reach) else np.inf


@njit(cache=True, nogil=True, error_model="numpy")
def _support(pixels, seen, lenses, position, squared_threshold, squared, number, ahead, cost):
    """Count the views that agree with each position and those that could, and sum min(error^2, threshold^2).

    `squared` becomes the squared errors, infinite where a view has no keypoint or the position is not visible.
    """
    number[:] = 0
    ahead[:] = 0
    cost[:] = 0
    for view in range(len(seen)):
        _squared_errors(pixels[view], lenses[view], position, squared[view])
        for n in range(_LANES):
            known = seen[view, n] > 0
            error = squared[view, n] if known else np.inf
            squared[view, n] = error
            ahead[n] += 1.0 if error < np.inf else 0.0
            number[n] += 1.0 if error < squared_threshold else 0.0
            cost[n] += (error if error < squared_threshold else squared_threshold) if known else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _reject_narrow(lenses, position, squared, squared_threshold, max_squared_cosine, number, parallel):
    """Set `number` to 0 and `parallel` to 1 where no two agreeing views look from directions that differ enough."""
    wide = np.zeros(_LANES)
    for i in range(len(lenses)):
        for k in range(i + 1, len(lenses)):
            left = 0
            for n in range(_LANES):
                ax, ay, az = (
                    position[0, n] - lenses[i, 14],
                    position[1, n] - lenses[i, 15],
                    position[2, n] - lenses[i, 16],
                )
                bx, by, bz = (
                    position[0, n] - lenses[k, 14],
                    position[1, n] - lenses[k, 15],
                    position[2, n] - lenses[k, 16],
                )
                dot = ax * bx + ay * by + az * bz
                lengths = (ax * ax + ay * ay + az * az) * (bx * bx + by * by + bz * bz)
                both = (squared[i, n] < squared_threshold) & (squared[k, n] < squared_threshold)
                wide[n] = 1.0 if both & (dot * dot <= max_squared_cosine * lengths) else wide[n]
                left += (number[n] > 0) & (wide[n] == 0)
            if left == 0:
                return
    for n in range(_LANES):
        narrow = (number[n] > 0) & (wide[n] == 0)
        parallel[n] = 1.0 if narrow else parallel[n]
        number[n] = 0.0 if narrow else number[n]


@njit(cache=True, nogil=True, error_model="numpy")
def _take_in(squared, squared_threshold, best_number, number, held, active, inside):
    """Replace the inliers where more views agree than there are inliers; return for how many joints."""
    gained = 0
    for n in range(_LANES):
        more = (best_number[n] > 0) & (number[n] > held[n])
        active[n] = 1.0 if more else 0.0
        held[n] = number[n] if more else held[n]
        gained += more
    for view in range(len(squared)):
        for n in range(_LANES):
            agrees = 1.0 if squared[view, n] < squared_threshold else 0.0
            inside[view, n] = agrees if active[n] > 0 else inside[view, n]
    return gained


@njit(cache=True, nogil=True, error_model="numpy")
def _linearise(pixels, weights, lenses, position, normal, cost):
    """Compute the weighted squared errors, px^2, and their normal equations, 9 per joint as in `_ray_equations`."""
    normal[:] = 0
    cost[:] = 0
    for view in range(len(lenses)):
        lens = lenses[view]
        fx, skew, cx, fy, cy = lens[0], lens[1], lens[2], lens[3], lens[4]
        r0, r1, r2, r3, r4, r5, r6, r7, r8 = (
            lens[5],
            lens[6],
            lens[7],
            lens[8],
            lens[9],
            lens[10],
            lens[11],
            lens[12],
            lens[13],
        )
        tx, ty, tz = lens[14], lens[15], lens[16]
        k1, k2, p1, p2, k3, factor, reach = lens[17], lens[18], lens[19], lens[20], lens[21], lens[22], lens[23]
        for n in range(_LANES):
            dx, dy, dz = position[0, n] - tx, position[1, n] - ty, position[2, n] - tz
            nearness = 1 / (r6 * dx + r7 * dy + r8 * dz)
            a, b = (r0 * dx + r1 * dy + r2 * dz) * nearness, (r3 * dx + r4 * dy + r5 * dz) * nearness
            p, q, pa, pb, qa, qb = _distort(k1, k2, p1, p2, k3, factor, a, b)
            u, v = fx * p + skew * q + cx - pixels[view, 0, n], fy * q + cy - pixels[view, 1, n]
            ua, ub = (fx * pa + skew * qa) * nearness, (fx * pb + skew * qb) * nearness
            va, vb = fy * qa * nearness, fy * qb * nearness
            ax, ay, az, bx, by, bz = r0 - a * r6, r1 - a * r7, r2 - a * r8, r3 - b * r6, r4 - b * r7, r5 - b * r8
            ux, uy, uz = ua * ax + ub * bx, ua * ay + ub * by, ua * az + ub * bz
            vx, vy, vz = va * ax + vb * bx, va * ay + vb * by, va * az + vb * bz
            weight = weights[view, n]
            normal[0, n] += weight * (ux * ux + vx * vx)
            normal[1, n] += weight * (ux * uy + vx * vy)
            normal[2, n] += weight * (ux * uz + vx * vz)
            normal[3, n] += weight * (uy * uy + vy * vy)
            normal[4, n] += weight * (uy * uz + vy * vz)
            normal[5, n] += weight * (uz * uz + vz * vz)
            normal[6, n] -= weight * (ux * u + vx * v)
            normal[7, n] -= weight * (uy * u + vy * v)
            normal[8, n] -= weight * (uz * u + vz * v)
            squared = u * u + v * v if (nearness > 0) & (a * a + b * b <= reach) else np.inf
            cost[n] += weight * squared if weight > 0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _descend(pixels, lenses, weights, settled, active, position, trial, normal, cost):
    """Minimise the active joints' weighted squared reprojection errors, by Gauss-Newton.

    A joint has converged when its squared step is at most `settled` mm^2.
    """
    new_cost, moving = np.zeros(_LANES), np.zeros(_LANES)
    for n in range(_LANES):
        moving[n] = active[n]
        cost[n] = np.inf
        trial[0, n], trial[1, n], trial[2, n] = position[0, n], position[1, n], position[2, n]
    for step in range(_REFINING_STEPS + 1):
        _linearise(pixels, weights, lenses, trial, normal, new_cost)
        left = 0
        for n in range(_LANES):
            x, y, z = trial[0, n] - position[0, n], trial[1, n] - position[1, n], trial[2, n] - position[2, n]
            better = (moving[n] > 0) & (new_cost[n] < cost[n])
            position[0, n] = trial[0, n] if better else position[0, n]
            position[1, n] = trial[1, n] if better else position[1, n]
            position[2, n] = trial[2, n] if better else position[2, n]
            cost[n] = new_cost[n] if better else cost[n]
            further = better & ((step == 0) | (x * x + y * y + z * z > settled))
            moving[n] = 1.0 if further else 0.0
            left += further
        if left == 0:
            break
        _solve(normal, trial)
        for k in range(3):
            for n in range(_LANES):
                trial[k, n] += position[k, n]


@njit(cache=True, nogil=True, error_model="numpy")
def _refine(pixels, lenses, inside, huber, active, position, trial, normal, squared, cost):
    """Minimise the Huber loss of the joints' inliers, by reweighted Gauss-Newton steps."""
    weights, before, moving = np.zeros(inside.shape), np.zeros(position.shape), active.copy()
    for step in range(_HUBER_STEPS + 1):
        left = 0
        for view in range(len(lenses)):
            _squared_errors(pixels[view], lenses[view], position, squared[view])
            for n in range(_LANES):
                beyond = squared[view, n] > huber * huber
                weights[view, n] = inside[view, n] * (huber / np.sqrt(squared[view, n]) if beyond else 1.0)
        for n in range(_LANES):
            x, y, z = position[0, n] - before[0, n], position[1, n] - before[1, n], position[2, n] - before[2, n]
            further = (moving[n] > 0) & ((step == 0) | (x * x + y * y + z * z > 1e-4))
            moving[n] = 1.0 if further else 0.0
            left += further
            before[0, n], before[1, n], before[2, n] = position[0, n], position[1, n], position[2, n]
        if left == 0 or step == _HUBER_STEPS:
            break
        _descend(pixels, lenses, weights, np.inf, moving, position, trial, normal, cost)
