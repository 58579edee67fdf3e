"""The result of a rig check."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is wrong with a rig, or may be.

    Attributes:
        kind: "lens", "image_size", "placement", "units", "up", "mirrored", "exchanged", "transposed", "time", "moved",
            "pushed", "focal_length", "disagreement", "loose", "unknown".
        camera: the name of the camera; "" for the rig as a whole.
        sentence: the observation and the remedy.
        figures: numbers by name.
        serious: True if labels made with this rig would be wrong, False for a doubt.
    """

    kind: str
    camera: str
    sentence: str
    figures: dict[str, float] = field(default_factory=dict)
    serious: bool = True

    def __str__(self) -> str:
        """Return the sentence with the camera's name in front."""
        if not self.camera:
            return self.sentence
        return f"{self.camera}{':' if self.sentence.startswith('its ') else ''} {self.sentence}"


@dataclass(frozen=True, kw_only=True)
class RigReport:
    """The result of a rig check.

    Attributes:
        findings: the gravest first.
        by_camera: by camera name `off_px`, the median distance from the joints of the other views; `share`, the camera's
            percentage of all such errors; `bias_px`, the median offset of all its keypoints; `known`, the percentage of
            keypoints with a distance. Empty for fewer than three cameras.
        epipolar_px: by pair of cameras, the median distance from each other's epipolar lines.
        body_scale: the size of the person, 1 for an adult; NaN if unknown.
        coverage_percent: joints that at least two views agree on; NaN if unknown.
    """

    findings: tuple[Finding, ...]
    by_camera: dict[str, dict[str, float]] = field(default_factory=dict)
    epipolar_px: dict[str, float] = field(default_factory=dict)
    body_scale: float = float("nan")
    coverage_percent: float = float("nan")
