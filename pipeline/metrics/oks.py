"""OKS and COCO's average precision: the similarity of several people's keypoints in an image to the annotated ones.

pycocotools does the scoring. This module has the steps before it: the similarity of two people, and the suppression of people
who were detected twice, in the published order and precision, because ties decide digits.
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
_MAX_KEPT = 20  # of soft suppression, as published


def oks(keypoints: np.ndarray, others: np.ndarray, area: Any, other_area: Any, sigmas: np.ndarray) -> np.ndarray:
    """Return the object keypoint similarity of detected people: mean over joints of exp(-d^2 / (2 (2 sigma)^2 area)).

    The area is the mean of both people's, and every joint counts, because no annotation selects joints.

    Args:
        keypoints, others: (..., joints, 2) px.
        area, other_area: (...) px^2.
        sigmas: (joints,).

    Returns:
        (...) in [0, 1].
    """
    squared = ((keypoints - others) ** 2).sum(axis=-1)
    between = (np.asarray(area) + np.asarray(other_area)) / 2 + np.spacing(1)
    return np.exp(-squared / (2 * (2 * sigmas) ** 2 * between[..., None])).mean(axis=-1)


def rescore(box_scores: np.ndarray, scores: np.ndarray, min_joint_score: float = 0.2) -> np.ndarray:
    """Return each person's score: the box's times the mean of the joints' above `min_joint_score`; 0 if there are none.

    Args:
        box_scores: (people,).
        scores: (people, joints).
    """
    sure = scores > min_joint_score
    total = np.cumsum(np.where(sure, scores, 0), axis=1, dtype=scores.dtype)[:, -1]  # one after another, as published
    return box_scores * (total / np.maximum(sure.sum(axis=1), 1).astype(scores.dtype))


def oks_nms(
    keypoints: np.ndarray,
    area: np.ndarray,
    scores: np.ndarray,
    threshold: float = 0.9,
    sigmas: np.ndarray = COCO_SIGMAS,
) -> np.ndarray:
    """Return who stays after OKS-NMS: of people more similar than the threshold, the one with the highest score.

    Args:
        keypoints: (people, joints, 2) px.
        area: (people,) px^2.
        scores: (people,); of equal scores the later person comes first, as in the published order.
        threshold: in [0, 1].
        sigmas: (joints,).

    Returns:
        Indices of the people who stay, best first.
    """
    order = np.argsort(scores, kind="stable")[::-1]
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        order = rest[oks(keypoints[best], keypoints[rest], area[best], area[rest], sigmas) <= threshold]
    return np.array(kept, dtype=int)


def soft_oks_nms(
    keypoints: np.ndarray,
    area: np.ndarray,
    scores: np.ndarray,
    threshold: float = 0.9,
    sigmas: np.ndarray = COCO_SIGMAS,
) -> np.ndarray:
    """Return who stays after soft OKS-NMS: a score is multiplied by exp(-oks^2 / threshold) for each better person."""
    order = np.argsort(scores, kind="stable")[::-1]
    scores = scores[order].astype(float)
    kept: list[int] = []
    while len(order) and len(kept) < _MAX_KEPT:
        best, order = order[0], order[1:]
        kept.append(int(best))
        alike = oks(keypoints[best], keypoints[order], area[best], area[order], sigmas)
        scores = scores[1:] * np.exp(-(alike**2) / threshold)
        again = np.argsort(scores, kind="stable")[::-1]
        order, scores = order[again], scores[again]
    return np.array(kept, dtype=int)


def coco_results(
    image_ids: np.ndarray,
    keypoints: np.ndarray,
    scores: np.ndarray,
    box_scores: np.ndarray,
    area: np.ndarray,
    *,
    min_joint_score: float = 0.2,
    threshold: float = 0.9,
    soft: bool = False,
    sigmas: np.ndarray = COCO_SIGMAS,
) -> list[dict[str, Any]]:
    """Return results in the format of COCO's server: people by image, rescored, without duplicates.

    Computed in float32 like the published code: with float64 some equal scores would differ.

    Args:
        image_ids: (people,) int.
        keypoints: (people, joints, 2) px of the image.
        scores: (people, joints).
        box_scores: (people,) of the detector; 1 for annotated boxes.
        area: (people,) px^2 of the cropped box, its padding included.
        min_joint_score: joints with a lower score do not count in a person's score.
        threshold: of the suppression.
        soft: soft suppression instead of removing people.
        sigmas: (joints,).

    Returns:
        One dict per person: image_id, category_id, keypoints (x, y, score in turn), score.
    """
    person = rescore(box_scores.astype(np.float32), scores.astype(np.float32), min_joint_score)
    suppress = soft_oks_nms if soft else oks_nms
    results = []
    for image in dict.fromkeys(image_ids.tolist()):  # in the order of their first person
        rows = np.flatnonzero(image_ids == image)
        for row in rows[suppress(keypoints[rows], area[rows], person[rows], threshold, sigmas)]:
            triples = np.concatenate([keypoints[row], scores[row, :, None]], axis=-1).astype(np.float64)
            results.append(
                {
                    "image_id": int(image),
                    "category_id": 1,
                    "keypoints": triples.ravel().tolist(),
                    "score": float(person[row]),
                }
            )
    return results


def coco_ap_by_joint(
    annotations: Path | dict[str, Any], results: list[dict[str, Any]], skeleton: Skeleton
) -> dict[str, float]:
    """Return the AP in [0, 1] of each joint, as if the annotations labelled no other; NaN if a joint is never labelled."""
    whole = json.loads(annotations.read_text(encoding="utf-8")) if isinstance(annotations, Path) else annotations
    by_joint = {}
    for index, name in enumerate(skeleton.joint_names):
        alone, labelled = [], 0
        for annotation in whole["annotations"]:
            triples = list(annotation["keypoints"])
            triples[2::3] = [flag if joint == index else 0 for joint, flag in enumerate(triples[2::3])]
            count = int(triples[3 * index + 2] > 0)
            labelled += count
            alone.append({**annotation, "keypoints": triples, "num_keypoints": count})
        ap = coco_ap({**whole, "annotations": alone}, results)["AP"] if labelled else float("nan")
        by_joint[name] = ap
    return by_joint


def coco_ap(annotations: Path | dict[str, Any], results: list[dict[str, Any]]) -> dict[str, float]:
    """Return COCO's ten numbers for keypoints, in [0, 1], by pycocotools.

    Args:
        annotations: person_keypoints_*.json, or its content.
        results: of `coco_results`.

    Raises:
        ValueError: there are no results, or a result has an image that the annotations lack.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if not results:
        raise ValueError("COCO evaluation: no person was detected")
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints while it runs
        ground_truth = COCO(str(annotations)) if isinstance(annotations, Path) else COCO()
        if not isinstance(annotations, Path):
            ground_truth.dataset = annotations
            ground_truth.createIndex()
        unknown = sorted({result["image_id"] for result in results} - set(ground_truth.getImgIds()))
        if unknown:
            raise ValueError(f"COCO evaluation: image {unknown[0]} is not in the annotations")
        scoring = COCOeval(ground_truth, ground_truth.loadRes([dict(result) for result in results]), "keypoints")
        scoring.params.useSegm = None
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
    return dict(zip(_NUMBERS, (float(value) for value in scoring.stats), strict=True))
