"""What a rig check reads: the keypoints of one person in all views."""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.skeleton import Skeleton

_SAMPLED_FRAMES = 600  # frames that hypotheses are tried on


@dataclass(frozen=True, eq=False, kw_only=True)
class Observations:
    """The keypoints of one person in all views of a rig.

    Attributes:
        keypoints: (frames, views, joints, 2) px of the full image; NaN if not seen.
        scores: (frames, views, joints).
        sequence: (frames,) text; frames are in order within a sequence.
        number: (frames,) int, the frame numbers within the sequence.
        skeleton: the names of the joints.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    sequence: np.ndarray
    number: np.ndarray
    skeleton: Skeleton

    def take(self, rows: np.ndarray) -> "Observations":
        """Return the frames of some rows."""
        return replace(
            self,
            keypoints=self.keypoints[rows],
            scores=self.scores[rows],
            sequence=self.sequence[rows],
            number=self.number[rows],
        )

    def above(self, confidence_threshold: float) -> "Observations":
        """Return the observations without keypoints of low confidence: NaN, with score 0."""
        valid = np.isfinite(self.keypoints).all(axis=-1) & (self.scores > confidence_threshold)
        return replace(
            self, keypoints=np.where(valid[..., None], self.keypoints, np.nan), scores=np.where(valid, self.scores, 0.0)
        )

    def with_view(self, view: int, keypoints: np.ndarray) -> "Observations":
        """Return the observations with other keypoints, (frames, joints, 2) px, in one view."""
        changed = self.keypoints.copy()
        changed[:, view] = keypoints
        return replace(self, keypoints=changed)

    def shifted(self, view: int, rows: int) -> "Observations":
        """Return the observations with one view's keypoints taken from a number of rows later.

        They are NaN where the sequence has no such row or where frame numbers are missing in between.
        """
        keypoints = self.keypoints[:, view]
        count = len(keypoints)
        source = np.arange(count) + rows
        inside = (source >= 0) & (source < count)
        source = np.clip(source, 0, max(count - 1, 0))
        same = self.sequence[source] == self.sequence
        apart = self.number[source] - self.number
        valid = inside & same & (apart == rows * self.frame_step)
        return self.with_view(view, np.where(valid[:, None, None], keypoints[source], np.nan))

    def sample(self) -> "Observations":
        """Return runs of frames, equally long ones of each sequence, that are enough to compare hypotheses on."""
        names = list(dict.fromkeys(self.sequence.tolist()))
        length = max(_SAMPLED_FRAMES // max(len(names), 1), 8)
        rows = [np.flatnonzero(self.sequence == name)[:length] for name in names]
        return self.take(np.concatenate(rows)[: 4 * _SAMPLED_FRAMES] if rows else np.empty(0, dtype=int))

    @property
    def frame_step(self) -> int:
        """Return the usual difference between the numbers of successive frames."""
        steps = np.diff(self.number)[self.sequence[1:] == self.sequence[:-1]]
        return int(np.median(steps)) if len(steps) else 1
