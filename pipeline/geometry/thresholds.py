"""When views agree on a joint: the three numbers that every stage with a RANSAC shares."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Lt, Unit


@dataclass(frozen=True, kw_only=True)
class AgreementThresholds:
    """When views agree, as geometry/ransac.py reads it. A stage's section of params.yaml inherits these keys.

    Attributes:
        confidence_threshold: a view with a score above it proposes positions; the other views only support them.
        reproj_threshold_px: px of the full image; a view agrees when its keypoint is nearer than this to the projected
            joint.
        min_ray_angle_deg: the rays of two agreeing views must differ in direction by this much.
    """

    confidence_threshold: Annotated[float, Ge(0), Lt(1)]
    reproj_threshold_px: Annotated[float, Gt(0), Unit("px")]
    min_ray_angle_deg: Annotated[float, Ge(0), Lt(90)]
