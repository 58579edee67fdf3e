"""The accuracy on labelled persons that were kept from training, with and without a head size."""

import dataclasses

import numpy as np
import pytest

from pipeline.files import images, samples
from pipeline.files.samples import Samples
from pipeline.skeleton import get
from pipeline.training import validation
from pipeline.training.validation import InputFormat, accuracy_note, source_accuracy

JOINTS = get("mpii_16")
FORMAT = InputFormat(size=(64, 64))


@pytest.fixture
def labelled(tmp_path):
    """Three persons in boxes of 200 px, whose heads measure 40 px; the first is one to train on."""
    samples.write(
        tmp_path / "people.h5",
        skeleton=JOINTS,
        key=np.array(["a", "b", "c"]),
        split=np.array(["train", "valid", "valid"]),
        keypoints=np.full((3, len(JOINTS), 2), 100.0),
        visible=np.ones((3, len(JOINTS)), dtype=bool),
        box=np.tile([0.0, 0, 200, 200], (3, 1)),
        head=np.full(3, 40.0),
        crop_from_image=np.tile(np.eye(3)[:2], (3, 1, 1)),
        jpegs=(images.encode(np.zeros((64, 64, 3), dtype=np.uint8)) for _ in range(3)),
    )
    return Samples.read(tmp_path / "people.h5")


@pytest.fixture
def off(monkeypatch):
    """Make the network's keypoints lie so many px right of the labels: per joint, equal for all persons."""

    def place(distance):
        def keypoints(predict, samples, rows, input_format):
            return samples.keypoints[rows] + np.stack([distance, np.zeros(len(JOINTS))], axis=-1), None

        monkeypatch.setattr(validation, "predict_keypoints", keypoints)

    return place


def test_persons_with_a_head_size_are_measured_in_it(labelled, off):
    off(np.where(np.arange(16) < 6, 19.9, 20.1))  # ankles, knees, hips: half a head and less
    measured = source_accuracy(lambda images: images, {"people": labelled}, JOINTS, FORMAT)
    assert measured == {"source_pckh_50": pytest.approx(100 * 6 / 14)}  # without pelvis and thorax


def test_persons_without_a_head_size_are_measured_in_their_box(labelled, off):
    off(np.where(np.arange(16) < 4, 9.9, 10.1))
    headless = dataclasses.replace(labelled, head=np.full(3, np.nan))
    measured = source_accuracy(lambda images: images, {"people": headless}, JOINTS, FORMAT)
    assert measured == {"source_pck_box_5": pytest.approx(100 * 4 / 16)}
    both = source_accuracy(lambda images: images, {"one": labelled, "two": headless}, JOINTS, FORMAT)
    assert both == {"source_pckh_50": 100.0, **measured}
    assert accuracy_note(both) == "source PCKh@0.5 100.0 %, source PCK within 5 % of the box 25.0 %"


def test_without_persons_to_validate_on_the_number_is_unknown(labelled, off):
    off(np.zeros(16))
    measured = source_accuracy(
        lambda images: images, {"people": dataclasses.replace(labelled, split=np.full(3, "train"))}, JOINTS, FORMAT
    )
    assert list(measured) == ["source_pckh_50"] and np.isnan(measured["source_pckh_50"])
