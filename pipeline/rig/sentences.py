"""All sentences that a rig check says to the user: one table.

A sentence that begins with "its" follows "<camera>: ", another one follows the camera's name without a colon; sentences about
the whole rig stand alone. Values are filled in by name, with `finding`.
"""

from typing import Any

from pipeline.rig.report import Finding

# Name of the sentence: kind of the finding, and the sentence.
SENTENCES: dict[str, tuple[str, str]] = {
    # what a calibration says of itself
    "centre_turned": (
        "image_size",
        "its lens's centre ({cx:.0f}, {cy:.0f}) is far from the middle of its {width}x{height} image, as if the image had been "
        "turned by 90 degrees: calibrate with images of the recording's size and orientation, or state their size in the "
        "calibration",
    ),
    "centre_off": (
        "image_size",
        "its lens's centre ({cx:.0f}, {cy:.0f}) is far from the middle of its {width}x{height} image, as if the image had "
        "another size or were a part of one: calibrate with images of the recording's size and orientation, or state their "
        "size in the calibration",
    ),
    "field_of_view": (
        "lens",
        "its focal length of {fx:.0f} px means a field of view of {degrees:.0f} degrees: is that px, and of this image's size?",
    ),
    "stretched": (
        "lens",
        "its focal lengths differ, {fx:.0f} and {fy:.0f} px, as if its pixels were not square: was the image stretched after "
        "the calibration?",
    ),
    "distortion_folds": (
        "lens",
        "its distortion {distortion} turns back inside the image, at {share:.0%} of its rim: coefficients in another order, of "
        "a fisheye (target.rig.lens), or from too few calibration images near the rim",
    ),
    "distortion_large": (
        "lens",
        "its distortion {distortion} moves the image's corners by {share:.0%} of half the diagonal: coefficients in another "
        "order, or of another lens?",
    ),
    "same_place": (
        "placement",
        "stands where {other} stands: is one of them in the calibration twice? Leave it out by target.views",
    ),
    "keypoints_outside": (
        "image_size",
        "{share:.0%} of its keypoints lie outside of its {width}x{height} image: the detector ran on images of another size; "
        "detect on the images that are given as data.target",
    ),
    # one camera against the others
    "late": (
        "time",
        "seems to have begun {count} frames {word}: {off_px:.1f} px from what the other cameras say as it is, "
        "{off_px_then:.1f} px then; set target.rig.start_offsets to {camera}: {frames:+d}, or synchronise the cameras",
    ),
    "image_mirrored": (
        "mirrored",
        "its images seem to be {how} against the calibration: record and calibrate with the same settings of the camera, or "
        "turn the images back",
    ),
    "image_turned": (
        "image_size",
        "its images seem to be {how} against the calibration: record and calibrate with the same settings of the camera, or "
        "turn the images back",
    ),
    "image_resized": (
        "image_size",
        "its images seem to be {times:.3g} times as large as those of its calibration: state the calibrated size, or multiply "
        "its matrix's first two rows by {times:.3g}",
    ),
    "transposed": (
        "transposed",
        "its rotation seems to be transposed (world-from-camera): write camera-from-world, or see target.rig.extrinsics",
    ),
    "distortion_worse": (
        "lens",
        "its distortion {distortion} does worse than none: coefficients in another order, or images that were undistorted "
        "already",
    ),
    "zoomed": (
        "focal_length",
        "its focal length seems to be {times:.2f} times the calibrated one: was it zoomed, or its image cropped, after the "
        "calibration? Calibrate it again",
    ),
    "turned": (
        "moved",
        "does not stand as calibrated: {off_px:.1f} px from what the other cameras say, and {corrected_px:.1f} px if it had "
        "been turned by {degrees:.1f} degrees; calibrate it again, or leave it out by target.views",
    ),
    "moved": (
        "moved",
        "does not stand as calibrated: {off_px:.1f} px from what the other cameras say, and {corrected_px:.1f} px if it had "
        "been turned by {degrees:.1f} degrees and moved by {mm:.0f} mm; calibrate it again, or leave it out by target.views",
    ),
    "pushed": (
        "pushed",
        "seems to have been moved during the recording: from about {sequence}, frame {number}, on its keypoints are offset by "
        "{jump_px:.0f} px from where they were, against what the other cameras say; give the parts calibrations of their own, "
        "or leave one out (target.rig.first_frame, target.rig.last_frame)",
    ),
    "loose": (
        "loose",
        "its keypoints are all offset by about {bias_px:.0f} px ({x:+.0f}, {y:+.0f}) from what the other cameras say, with "
        "{noise_px:.0f} px of noise around that: the calibration is loose; calibrate again, or keep thresholds in px well "
        "above that",
    ),
    # several cameras, or all
    "exchanged": (
        "exchanged",
        "seems to have changed places with {other}: the keypoints of each fit the other's calibration; exchange their names, "
        "or their videos",
    ),
    "exchanged_ring": (
        "exchanged",
        "seems to have changed places with two others: their keypoints fit other calibrations, {fits}; exchange their names, "
        "or their videos",
    ),
    "all_mirrored": (
        "mirrored",
        "the cameras agree only if every image is mirrored left to right: either the images are (a setting of the cameras, or "
        "of the conversion), or the calibration's world is left-handed; correct what is mirrored",
    ),
    "all_turned": (
        "image_size",
        "the cameras agree only if every image is turned by 180 degrees: turn them back",
    ),
    "all_resized": (
        "image_size",
        "the cameras agree only if every image is {times:.3g} times as large as those that were calibrated: state the "
        "calibrated sizes, or calibrate at this size",
    ),
    "all_transposed": (
        "transposed",
        "the cameras agree only if every rotation is transposed: the calibration holds world-from-camera rotations; set "
        "target.rig.extrinsics",
    ),
    "contradiction": (
        "disagreement",
        "the cameras contradict one another everywhere (two of them agree on {known:.0f} % of the joints): is this the "
        "calibration of this recording, do its names belong to these videos, are its rotations camera-from-world "
        "(target.rig.extrinsics), and does the detector know such people?",
    ),
    # two cameras
    "two_late": (
        "time",
        "seems to have begun {count} frames of the target {word} against {other}: {off_px:.1f} px from its epipolar lines as "
        "it is, {off_px_then:.1f} px then; see target.rig.start_offsets",
    ),
    "two_disagree": (
        "disagreement",
        "the keypoints of {first} and {second} are {off_px:.1f} px off each other's epipolar lines (median): one of them does "
        "not stand as calibrated, or shows other frames; a third camera would tell which",
    ),
    # while a recording is prepared
    "out_of_step": (
        "time",
        "{camera} seems to be {count} frames {word}: {epipolar_px:.1f} px off the epipolar lines as it is, {corrected_px:.1f} px "
        "then; {frames:+d} frames in target.rig.start_offsets would correct it",
    ),
    # the body
    "units": (
        "units",
        "the person's arms and legs are {body_scale:.3g} times an adult's: see target.rig.units",
    ),
    "units_named": (
        "units",
        "the person's arms and legs are {body_scale:.3g} times an adult's; they would be {corrected:.2g} if the calibration is "
        "in {unit}: see target.rig.units",
    ),
    "up": (
        "up",
        "the person {stance} most of the time: the world's upward axis seems to be {axis}; set target.rig.up to what it is in "
        "the calibration's own axes",
    ),
    "bends_backwards": (
        "mirrored",
        "in {backwards:.0%} of the frames knees and elbows bend the wrong way for which side is left and which is right: the "
        "world is mirrored (a left-handed calibration, or mirrored images), or the detector's left is right",
    ),
    "no_person": (
        "unknown",
        "two cameras agree on hardly any joint: the rig could not be checked against a person; let a person walk through it, "
        "and give detections (target.detections_format) or a network that knows people",
    ),
}


def finding(
    name: str, camera: str = "", figures: dict[str, float] | None = None, *, serious: bool = True, **values: Any
) -> Finding:
    """Return a finding with a sentence of the table.

    Args:
        name: of the sentence.
        camera: the camera's name; "" for the whole rig.
        figures: numbers of the finding, which the sentence may name.
        serious: False for a doubt.
        **values: what else the sentence names.
    """
    kind, template = SENTENCES[name]
    figures = figures or {}
    sentence = template.format(**{"camera": camera, **figures, **values})
    return Finding(kind=kind, camera=camera, sentence=sentence, figures=figures, serious=serious)
