"""OKS and COCO's average precision: how well key points of several people in a picture fit, whoever is whom.

Scoring itself is pycocotools'. Here is what comes before it: the similarity of two people, and the suppression of people
found twice, in the order and precision in which they were published, because ties decide digits.
"""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.skeleton import Skeleton

# COCO's per-joint constants: a tenth of what lists of them usually print (.26, .25, ...), nose first.
COCO_SIGMAS = np.array(
    [0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89]
) / 10  # fmt: skip

_NUMBERS = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
_MOST_KEPT = 20  # of soft suppression, as published


def oks(points: np.ndarray, others: np.ndarray, area: Any, other_area: Any, sigmas: np.ndarray) -> np.ndarray:
    """Object key-point similarity between found people: mean over joints of exp(-d^2 / (2 (2 sigma)^2 area)).

    The area is the mean of both, and every joint counts, as there is no annotation that says which do.

    Args:
        points, others: (..., joints, 2) px.
        area, other_area: (...) px^2.
        sigmas: (joints,).

    Returns:
        (...) in [0, 1].
    """
    squared = ((points - others) ** 2).sum(axis=-1)
    between = (np.asarray(area) + np.asarray(other_area)) / 2 + np.spacing(1)
    return np.exp(-squared / (2 * (2 * sigmas) ** 2 * between[..., None])).mean(axis=-1)


def rescore(box_scores: np.ndarray, scores: np.ndarray, least: float = 0.2) -> np.ndarray:
    """A person's score: that of the box times the mean of the joints' scores above `least`; 0 where none is.

    Args:
        box_scores: (people,).
        scores: (people, joints).
    """
    sure = scores > least
    total = np.cumsum(np.where(sure, scores, 0), axis=1, dtype=scores.dtype)[:, -1]  # one after another, as published
    return box_scores * (total / np.maximum(sure.sum(axis=1), 1).astype(scores.dtype))


def oks_nms(
    points: np.ndarray, area: np.ndarray, scores: np.ndarray, threshold: float = 0.9, sigmas: np.ndarray = COCO_SIGMAS
) -> np.ndarray:
    """OKS-NMS: of people who are more alike than the threshold, the one with the highest score.

    Args:
        points: (people, joints, 2) px.
        area: (people,) px^2.
        scores: (people,); of equal ones the later person comes first, as in the published order.

    Returns:
        Indices of those who stay, best first.
    """
    order = np.argsort(scores, kind="stable")[::-1]
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        order = rest[oks(points[best], points[rest], area[best], area[rest], sigmas) <= threshold]
    return np.array(kept, dtype=int)


def soft_oks_nms(
    points: np.ndarray, area: np.ndarray, scores: np.ndarray, threshold: float = 0.9, sigmas: np.ndarray = COCO_SIGMAS
) -> np.ndarray:
    """As `oks_nms`, but nobody goes at once: a score falls by exp(-oks^2 / threshold) for each better one alike."""
    order = np.argsort(scores, kind="stable")[::-1]
    scores = scores[order].astype(float)
    kept: list[int] = []
    while len(order) and len(kept) < _MOST_KEPT:
        best, order = order[0], order[1:]
        kept.append(int(best))
        alike = oks(points[best], points[order], area[best], area[order], sigmas)
        scores = scores[1:] * np.exp(-(alike**2) / threshold)
        again = np.argsort(scores, kind="stable")[::-1]
        order, scores = order[again], scores[again]
    return np.array(kept, dtype=int)


def coco_results(
    image_ids: np.ndarray,
    points: np.ndarray,
    scores: np.ndarray,
    box_scores: np.ndarray,
    area: np.ndarray,
    *,
    least_joint_score: float = 0.2,
    threshold: float = 0.9,
    soft: bool = False,
    sigmas: np.ndarray = COCO_SIGMAS,
) -> list[dict[str, Any]]:
    """What COCO's server takes: people by picture, rescored, without doubles.

    Computed in float32 like the published chain: with float64 some scores would not be equal any more.

    Args:
        image_ids: (people,) int.
        points: (people, joints, 2) px of the picture.
        scores: (people, joints).
        box_scores: (people,) of the detector; 1 for annotated boxes.
        area: (people,) px^2 of the box that was cut out, its padding included.

    Returns:
        One dict a person: image_id, category_id, keypoints (x, y, score by turns), score.
    """
    person = rescore(box_scores.astype(np.float32), scores.astype(np.float32), least_joint_score)
    choose = soft_oks_nms if soft else oks_nms
    found = []
    for image in dict.fromkeys(image_ids.tolist()):  # in the order of their first person
        rows = np.flatnonzero(image_ids == image)
        for row in rows[choose(points[rows], area[rows], person[rows], threshold, sigmas)]:
            keypoints = np.concatenate([points[row], scores[row, :, None]], axis=-1).astype(np.float64)
            found.append(
                {
                    "image_id": int(image),
                    "category_id": 1,
                    "keypoints": keypoints.ravel().tolist(),
                    "score": float(person[row]),
                }
            )
    return found


def coco_ap_by_joint(
    annotations: Path | dict[str, Any], results: list[dict[str, Any]], names: Skeleton
) -> dict[str, float]:
    """AP in [0, 1] of each joint alone: as if the annotations labelled no other; NaN for one that they never label."""
    whole = json.loads(annotations.read_text(encoding="utf-8")) if isinstance(annotations, Path) else annotations
    found = {}
    for index, name in enumerate(names.joints):
        alone, labelled = [], 0
        for annotation in whole["annotations"]:
            points = list(annotation["keypoints"])
            points[2::3] = [flag if joint == index else 0 for joint, flag in enumerate(points[2::3])]
            count = int(points[3 * index + 2] > 0)
            labelled += count
            alone.append({**annotation, "keypoints": points, "num_keypoints": count})
        ap = coco_ap({**whole, "annotations": alone}, results)["AP"] if labelled else float("nan")
        found[name] = ap
    return found


def coco_ap(annotations: Path | dict[str, Any], results: list[dict[str, Any]]) -> dict[str, float]:
    """COCO's ten numbers for key points, in [0, 1], by pycocotools.

    Args:
        annotations: person_keypoints_*.json, or its content.
        results: as `coco_results` makes them.

    Raises:
        ValueError: nobody was found, or a result speaks of a picture that the annotations do not know.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if not results:
        raise ValueError("COCO evaluation: not one person was found")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        truth = COCO(str(annotations)) if isinstance(annotations, Path) else COCO()
        if not isinstance(annotations, Path):
            truth.dataset = annotations
            truth.createIndex()
        unknown = sorted({result["image_id"] for result in results} - set(truth.getImgIds()))
        if unknown:
            raise ValueError(f"COCO evaluation: picture {unknown[0]} is not in the annotations")
        scoring = COCOeval(truth, truth.loadRes([dict(result) for result in results]), "keypoints")
        scoring.params.useSegm = None
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
    return dict(zip(_NUMBERS, (float(value) for value in scoring.stats), strict=True))
