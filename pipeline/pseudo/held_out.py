"""A camera that no label is made from, nor in: what the others teach is measured in it, without any truth."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HeldOut:
    """Section `held_out` of params.yaml.

    Attributes:
        view: the camera's name; None for none. Its heatmaps are exported, and nothing else looks at them but `quality`
            (how far they are from what the other views say) and `evaluate`.
    """

    view: str | None

    def among(self, views: tuple[str, ...], what: str) -> np.ndarray:
        """(views,) bool, true for the held-out one.

        Raises:
            ValueError: there is no such view, or fewer than two are left; `what` names the file that the views are from.
        """
        found = np.array([view == self.view for view in views])
        if self.view is not None and not found.any():
            raise ValueError(f"held_out.view: {what} has no view '{self.view}'; it has {', '.join(views)}")
        if self.view is not None and len(views) < 3:
            raise ValueError(f"held_out.view: at least two other views have to agree; {what} has {', '.join(views)}")
        return found
