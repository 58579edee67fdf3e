"""A camera that no label is made from or in, so that what the other cameras teach can be measured in it without labels."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HeldOut:
    """Section `held_out` of params.yaml.

    Attributes:
        view: the camera's name; None for none. Its heatmaps are exported, and only `quality` (its distance from the other
            views' consensus) and `evaluate` read them.
    """

    view: str | None

    def mask(self, views: tuple[str, ...], file: str) -> np.ndarray:
        """Return (views,) bool, true for the held-out view.

        Args:
            views: the camera names of an artefact.
            file: the artefact's name, for the error sentence.

        Raises:
            ValueError: the view does not exist, or fewer than two others are left.
        """
        mask = np.array([view == self.view for view in views])
        if self.view is not None and not mask.any():
            raise ValueError(f"held_out.view: {file} has no view '{self.view}'; it has {', '.join(views)}")
        if self.view is not None and len(views) < 3:
            raise ValueError(f"held_out.view: at least two other views have to agree; {file} has {', '.join(views)}")
        return mask

    def hide(self, views: tuple[str, ...], *arrays: np.ndarray) -> None:
        """Set the held-out view of (frames, views, ...) arrays to NaN, in place."""
        for array in arrays:
            array[:, [view == self.view for view in views]] = np.nan
