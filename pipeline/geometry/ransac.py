"""Robust triangulation: which views agree on a joint, and where it is by what they say.

Every pair of views is a hypothesis, so there is no chance in it, and any number of views will do.

The compiled code works on _LANES joints at a time, in arrays with the joints last, so that each inner loop is one run of
vector instructions without branches: what differs between joints is a mask. A joint's result does not depend on the
others in its block, nor on the number of threads.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pipeline.compiled import njit
from pipeline.geometry.camera import Camera

# Status of a joint, the numbers of files/poses.py `Status`.
KNOWN, TOO_FEW_VIEWS, NO_AGREEMENT, RAYS_PARALLEL, BEHIND_CAMERA = range(5)

# Pairs grow with the square of the views, and each is compared with all views. Up to so many views all pairs are tried; of
# more views those of the most confident ones, and then of the next one, up to the second number, as long as fewer than half
# of the views agree.
PAIRED_VIEWS = 8
_PAIRED_AT_MOST = 16

_LANES = 64
_FRAMES_A_TASK = 128
_NEWTON_STEPS = 8  # of the undistortion, as in camera.py; usually 3
_REFINING_STEPS = 10  # at most; usually 3
_HUBER_STEPS = 20  # at most; usually 6, with steps down to 0.01 mm


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


def triangulate_ransac(
    points: np.ndarray,
    scores: np.ndarray,
    cameras: tuple[Camera, ...],
    *,
    confidence_threshold: float,
    reproj_threshold_px: float,
    min_inliers: int,
    min_ray_angle_deg: float,
    huber_px: float | None = None,
    threads: int | None = None,
) -> Triangulated:
    """Triangulate joints from the views that agree: exhaustive-pair RANSAC, refitted on its inliers.

    Each pair of candidate views makes a hypothesis; a view supports it when the joint lies in front of the camera and
    is shown less than the threshold from what the view detected, in px of the picture, lens distortion included. Views
    below the confidence threshold make no hypotheses, but support them like any other. The hypothesis with most
    supporters wins, among equals the one with the smaller sum of min(error^2, threshold^2). The point is then moved to
    where its inliers' squared reprojection errors are least (Gauss-Newton), and inliers gained by that join. Of more than
    eight views the pairs come in the order of confidence, and no more of them than it takes half of the views to agree.

    Args:
        points: (frames, views, joints, 2) px of the full picture; NaN where not seen.
        scores: (frames, views, joints); a view with a score above `confidence_threshold` is a candidate.
        cameras: one a view.
        confidence_threshold: of a candidate's score, strict.
        reproj_threshold_px: of an inlier's error, strict.
        min_inliers: a joint with fewer stays unknown; at least 2.
        min_ray_angle_deg: the widest angle between two inliers' rays must not be smaller, nor closer to 180 degrees.
        huber_px: an inlier that is farther off than this pulls with its distance only, not the square of it (Huber
            1964, by iteratively reweighted Gauss-Newton); None for plain least squares.
        threads: by default as many as there are processors; the result is the same for any number.

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
    points = np.ascontiguousarray(points, dtype=np.float64)
    scores = np.ascontiguousarray(scores, dtype=np.float64)
    lenses = np.stack([lens(camera) for camera in cameras])
    origin = lenses[:, _CENTRE].mean(axis=0)  # near everything, for the sake of the normal equations
    lenses[:, _CENTRE] -= origin
    settings = (
        lenses,
        origin,
        float(confidence_threshold),
        float(reproj_threshold_px),
        int(min_inliers),
        float(np.cos(np.deg2rad(min_ray_angle_deg)) ** 2) if min_ray_angle_deg > 0 else np.inf,
        np.inf if huber_px is None else float(huber_px),
    )

    def some(first: int) -> None:
        rows = slice(first, first + _FRAMES_A_TASK)
        _triangulate_some(
            points[rows],
            scores[rows],
            *settings,
            found.joints[rows],
            found.inliers[rows],
            found.error[rows],
            found.status[rows],
        )

    tasks = range(0, frames, _FRAMES_A_TASK)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(threads or processors, len(tasks))
    if workers < 2:
        for first in tasks:
            some(first)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(some, tasks))  # the compiled code lets go of the interpreter
    return found


_CENTRE = slice(14, 17)  # in a lens


def lens(camera: Camera) -> np.ndarray:
    """(24,) a camera as the row of numbers that the compiled code reads.

    From 0 on fx, skew, cx, fy, cy; from 5 the rotation, row by row; from 14 the centre; from 17 k1, k2, p1, p2, k3, the
    factor of the tangential term, and the square of the reach.
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
    points,
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
    frames, views, count, _ = points.shape
    squared_threshold = threshold * threshold
    pixels = np.zeros((views, 2, _LANES))
    seen = np.zeros((views, _LANES))
    confidence = np.zeros((views, _LANES))
    equations = np.zeros((views, 9, _LANES))
    slots = min(views, _PAIRED_AT_MOST)
    proposals = np.zeros((slots, 9, _LANES)) if views > PAIRED_VIEWS else equations
    proposing = np.zeros((slots, _LANES))
    normal = np.zeros((9, _LANES))
    place, trial = np.zeros((3, _LANES)), np.zeros((3, _LANES))
    squared, inside = np.zeros((views, _LANES)), np.zeros((views, _LANES))
    number, ahead, cost = np.zeros(_LANES), np.zeros(_LANES), np.zeros(_LANES)
    best_number, best_cost, held = np.zeros(_LANES), np.zeros(_LANES), np.zeros(_LANES)
    parallel, reachable, active = np.zeros(_LANES), np.zeros(_LANES), np.zeros(_LANES)

    for start in range(0, frames * count, _LANES):
        lanes = min(_LANES, frames * count - start)
        _load(points, scores, start, lanes, pixels, seen, confidence)
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
                _refuse_narrow(lenses, trial, squared, squared_threshold, max_squared_cosine, number, parallel)
                for n in range(_LANES):
                    better = number[n] > 0
                    best_number[n] = number[n] if better else best_number[n]
                    best_cost[n] = cost[n] if better else best_cost[n]
                    place[0, n] = trial[0, n] if better else place[0, n]
                    place[1, n] = trial[1, n] if better else place[1, n]
                    place[2, n] = trial[2, n] if better else place[2, n]

        held[:] = 0
        while True:
            _support(pixels, seen, lenses, place, squared_threshold, squared, number, ahead, cost)
            if not _take_in(squared, squared_threshold, best_number, number, held, active, inside):
                break
            _descend(pixels, lenses, inside, 1e-10, active, place, trial, normal, cost)
        if huber < np.inf:
            _refine(pixels, lenses, inside, huber, held, place, trial, normal, squared, cost)

        for n in range(lanes):
            frame, joint = (start + n) // count, (start + n) % count
            if best_number[n] > 0:
                off = 0.0
                for view in range(views):
                    inliers[frame, view, joint] = inside[view, n] > 0
                    off += np.sqrt(squared[view, n]) if inside[view, n] > 0 else 0.0
                error[frame, joint] = off / held[n]
                for k in range(3):
                    joints[frame, joint, k] = place[k, n] + origin[k]
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
def _load(points, scores, start, lanes, pixels, seen, confidence):
    """The next joints' detections, joints last; `seen` is 1 or 0."""
    views, count = points.shape[1], points.shape[2]
    frame, joint = start // count, start % count
    for n in range(_LANES):
        for view in range(views):
            u, v, known = 0.0, 0.0, False
            if n < lanes:
                u, v = points[frame, view, joint, 0], points[frame, view, joint, 1]
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
    """Distorted normalised point and the four derivatives of it: dx/dx, dx/dy, dy/dx, dy/dy."""
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
    """What a view says about the joints' places, as normal equations: 6 of the symmetric matrix, 3 of the right side.

    The rows are the DLT's, `f (x r3 - r1) (X - centre) = 0` and the same in y: depth times px. A joint whose pixel the
    lens cannot show is no longer `seen`.
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
            off_x, off_y = x - x_seen, y - y_seen
            determinant = xx * yy - xy * yx
            far = off_x * off_x + off_y * off_y > 1e-26
            scale = 1 / determinant if abs(determinant) > 1e-6 else np.nan
            ray[0, n] -= (yy * off_x - xy * off_y) * scale if far else 0.0
            ray[1, n] -= (xx * off_y - yx * off_x) * scale if far else 0.0
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
        off_x, off_y = x_shown - (pixels[0, n] - cx - skew * y_seen) / fx, y_shown - y_seen
        good = (seen[n] > 0) & (off_x * off_x + off_y * off_y < 1e-12) & (x * x + y * y <= reach)
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
    """Which views make hypotheses: `proposing` is 1 or 0, `proposals` are their equations.

    Up to PAIRED_VIEWS views stand in their own order, more in that of their confidence.
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
    """Which joints want further hypotheses: early all, later those with less than half of the views behind them."""
    left = 0
    for n in range(_LANES):
        visible = 0.0
        for view in range(len(seen)):
            visible += seen[view, n]
        active[n] = 1.0 if not late or 2 * best_number[n] < visible else 0.0
        left += active[n] > 0
    return left


@njit(cache=True, nogil=True, error_model="numpy")
def _solve(m, place):
    """Solve symmetric 3x3 systems (6 of the matrix, 3 of the right side); NaN when one does not fix a point."""
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
        place[0, n] = (a * m[6, n] + b * m[7, n] + c * m[8, n]) * scale
        place[1, n] = (b * m[6, n] + d * m[7, n] + e * m[8, n]) * scale
        place[2, n] = (c * m[6, n] + e * m[7, n] + f * m[8, n]) * scale


@njit(cache=True, nogil=True, error_model="numpy")
def _squared_errors(pixels, lens, place, squared):
    """Squared distances, px^2, of where a view shows places from what it saw; infinite where it cannot show them."""
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
        dx, dy, dz = place[0, n] - tx, place[1, n] - ty, place[2, n] - tz
        nearness = 1 / (r6 * dx + r7 * dy + r8 * dz)
        a, b = (r0 * dx + r1 * dy + r2 * dz) * nearness, (r3 * dx + r4 * dy + r5 * dz) * nearness
        p, q, _, _, _, _ = _distort(k1, k2, p1, p2, k3, factor, a, b)
        u, v = fx * p + skew * q + cx - pixels[0, n], fy * q + cy - pixels[1, n]
        squared[n] = u * u + v * v if (nearness > 0) & (a * a + b * b <= reach) else np.inf


@njit(cache=True, nogil=True, error_model="numpy")
def _support(pixels, seen, lenses, place, squared_threshold, squared, number, ahead, cost):
    """How many views agree with each place, how many could, and the sum of min(error^2, threshold^2).

    `squared` becomes the squared errors, infinite where a view saw nothing or cannot show the place.
    """
    number[:] = 0
    ahead[:] = 0
    cost[:] = 0
    for view in range(len(seen)):
        _squared_errors(pixels[view], lenses[view], place, squared[view])
        for n in range(_LANES):
            known = seen[view, n] > 0
            error = squared[view, n] if known else np.inf
            squared[view, n] = error
            ahead[n] += 1.0 if error < np.inf else 0.0
            number[n] += 1.0 if error < squared_threshold else 0.0
            cost[n] += (error if error < squared_threshold else squared_threshold) if known else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _refuse_narrow(lenses, place, squared, squared_threshold, max_squared_cosine, number, parallel):
    """Where no two of the agreeing views look from directions that differ enough, `number` becomes 0, `parallel` 1."""
    wide = np.zeros(_LANES)
    for i in range(len(lenses)):
        for k in range(i + 1, len(lenses)):
            left = 0
            for n in range(_LANES):
                ax, ay, az = place[0, n] - lenses[i, 14], place[1, n] - lenses[i, 15], place[2, n] - lenses[i, 16]
                bx, by, bz = place[0, n] - lenses[k, 14], place[1, n] - lenses[k, 15], place[2, n] - lenses[k, 16]
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
    """Where more views agree than are held for inliers, these become the inliers; returns for how many joints."""
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
def _linearise(pixels, weights, lenses, place, normal, cost):
    """The weighted squared errors, px^2, and their normal equations, 9 a joint as in `_ray_equations`."""
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
            dx, dy, dz = place[0, n] - tx, place[1, n] - ty, place[2, n] - tz
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
def _descend(pixels, lenses, weights, settled, active, place, trial, normal, cost):
    """Move the active joints to where their weighted squared reprojection error is least, by Gauss-Newton.

    A joint rests after a step of which the square is not above `settled`, mm^2.
    """
    new_cost, moving = np.zeros(_LANES), np.zeros(_LANES)
    for n in range(_LANES):
        moving[n] = active[n]
        cost[n] = np.inf
        trial[0, n], trial[1, n], trial[2, n] = place[0, n], place[1, n], place[2, n]
    for step in range(_REFINING_STEPS + 1):
        _linearise(pixels, weights, lenses, trial, normal, new_cost)
        left = 0
        for n in range(_LANES):
            x, y, z = trial[0, n] - place[0, n], trial[1, n] - place[1, n], trial[2, n] - place[2, n]
            better = (moving[n] > 0) & (new_cost[n] < cost[n])
            place[0, n] = trial[0, n] if better else place[0, n]
            place[1, n] = trial[1, n] if better else place[1, n]
            place[2, n] = trial[2, n] if better else place[2, n]
            cost[n] = new_cost[n] if better else cost[n]
            further = better & ((step == 0) | (x * x + y * y + z * z > settled))
            moving[n] = 1.0 if further else 0.0
            left += further
        if left == 0:
            break
        _solve(normal, trial)
        for k in range(3):
            for n in range(_LANES):
                trial[k, n] += place[k, n]


@njit(cache=True, nogil=True, error_model="numpy")
def _refine(pixels, lenses, inside, huber, active, place, trial, normal, squared, cost):
    """Move the joints to where their inliers' Huber loss is least, by reweighted Gauss-Newton steps."""
    weights, before, moving = np.zeros(inside.shape), np.zeros(place.shape), active.copy()
    for step in range(_HUBER_STEPS + 1):
        left = 0
        for view in range(len(lenses)):
            _squared_errors(pixels[view], lenses[view], place, squared[view])
            for n in range(_LANES):
                beyond = squared[view, n] > huber * huber
                weights[view, n] = inside[view, n] * (huber / np.sqrt(squared[view, n]) if beyond else 1.0)
        for n in range(_LANES):
            x, y, z = place[0, n] - before[0, n], place[1, n] - before[1, n], place[2, n] - before[2, n]
            further = (moving[n] > 0) & ((step == 0) | (x * x + y * y + z * z > 1e-4))
            moving[n] = 1.0 if further else 0.0
            left += further
            before[0, n], before[1, n], before[2, n] = place[0, n], place[1, n], place[2, n]
        if left == 0 or step == _HUBER_STEPS:
            break
        _descend(pixels, lenses, weights, np.inf, moving, place, trial, normal, cost)
