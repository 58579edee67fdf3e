"""Networks learn: each overfits a few drawn people, so a network that cannot learn fails here."""

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline import skeleton
from pipeline.datasets.synthetic.people import SIDE, photograph
from pipeline.files import images, samples
from pipeline.files.samples import Samples
from pipeline.files.space import Space
from pipeline.metrics import mpjpe, pck
from pipeline.models import build
from pipeline.models.inference import as_input, predict, predict_coordinates
from pipeline.runtime import Runtime, start_torch
from pipeline.training.batches import batches
from pipeline.training.loop import Schedule, train
from pipeline.training.losses import Loss, loss_against_targets
from pipeline.training.pools import pool_of_samples
from pipeline.training.validation import InputFormat, predict_joints, predict_keypoints
from tests.training.strengths import NONE

pytestmark = pytest.mark.slow  # networks are trained

SMALL: dict[str, Any] = {"block": "basic", "layers": (1, 1, 1, 1), "width": 16, "deconv_channels": 32, "input_size": 64}
FORMAT = InputFormat(size=(64, 64))


def people(path: Path, train: int, valid: int = 0) -> Samples:
    """Return drawn persons with the joints that they were drawn from."""
    drawn = [photograph(11, number) for number in range(train + valid)]
    boxes = np.array([person.box for person in drawn])
    spaces = [Space.of(each.joints[None], each.camera, np.array([at]), 0) for at, each in enumerate(drawn)]
    samples.write(
        path,
        skeleton=skeleton.get("mpii_16"),
        key=np.array([f"{at:04}" for at in range(len(drawn))]),
        split=np.array(["train"] * train + ["valid"] * valid),
        keypoints=np.array([person.true_keypoints for person in drawn]),
        visible=np.ones((len(drawn), 16), dtype=bool),
        box=np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=-1),
        head=np.array([0.6 * np.linalg.norm(np.diff(person.head_box(), axis=0)) for person in drawn]),
        crop_from_image=np.tile(np.eye(3)[:2] / 2 - [[0, 0, 0.25], [0, 0, 0.25]], (len(drawn), 1, 1)),
        jpegs=(images.encode(cv2.resize(each.image, (SIDE // 2,) * 2, interpolation=cv2.INTER_AREA)) for each in drawn),
        space=Space.concatenated(spaces),
    )
    return Samples.read(path)


def learned(network: build.Network, persons: Samples, steps: int, batch_size: int, learning_rate: float, loss: str) -> Any:
    device = start_torch(Runtime(seed=1, threads=1, precision="float32"))
    joints = skeleton.get(network.skeleton)
    model = build.build(network)
    pool = pool_of_samples(persons, "train", joints)
    schedule = Schedule(
        steps=steps, learning_rate=learning_rate, warmup_fraction=0.0, weight_decay=0.0, ema_decay=0.0, optimiser="adam",
        lr_schedule="steps", milestones=(0.643, 0.857),
    )  # fmt: skip
    root = joints.index("pelvis") if model.outputs.relative else None
    training = train(
        model,
        lambda first: batches(
            [pool], range(first, steps), batch_size=batch_size, size=(64, 64), sigma=1.0, augment=NONE, seed=1,
            prefetch=False,
        ),
        as_input,
        lambda stacks, batch: {"loss": loss_against_targets(stacks, batch, Loss(name=loss), root)},  # type: ignore[arg-type]
        schedule=schedule,
        device=device,
        autocast_dtype=None,
        record_every=steps,
    )  # fmt: skip
    list(training)
    return model, device


def joints_of(model: Any, device: Any, persons: Samples, split: str, names: str) -> tuple[np.ndarray, np.ndarray]:
    """Return predicted and measured joints, (persons, joints, 3) mm."""
    rows = np.flatnonzero(persons.split == split)
    coordinates = partial(predict_coordinates, model, device=device)
    found = predict_joints(
        coordinates, persons, rows, FORMAT, skeleton=skeleton.get(names), relative=model.outputs.relative
    )
    return found, persons.space.joints[rows]
