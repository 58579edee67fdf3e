"""The parts that `pretrain` and `retrain` share: their settings, batches with a progress bar, and the written records."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Unit
from tqdm import tqdm

from pipeline.files.atomic import write_json
from pipeline.files.tables import write_table
from pipeline.training import ranks
from pipeline.training.augment import Augment
from pipeline.training.batches import Batch, Pool, batches
from pipeline.training.loop import Record, Schedule
from pipeline.training.losses import Loss


@dataclass(frozen=True, kw_only=True)
class Training:
    """The keys that the sections `pretrain` and `retrain` have in common.

    A key that both share stands once in the section `training`; a key of the stage's own section counts before it.

    Attributes:
        batch_size: images per step.
        sigma: map px, of the Gaussian targets.
        schedule: see training/loop.py.
        loss: see training/losses.py.
        augment: of the images that are learned from, see training/augment.py.
    """

    shared_section: ClassVar[str] = "training"

    batch_size: Annotated[int, Ge(2), "batch statistics need at least 2 images"]
    sigma: Annotated[float, Gt(0), Unit("map px")]
    schedule: Schedule
    loss: Loss
    augment: Augment


def batches_from(
    title: str,
    pools: Sequence[Pool],
    settings: Training,
    *,
    size: tuple[int, int],
    stride: int,
    seed: int,
    prefetch: bool,
) -> Callable[[int], Iterator[Batch]]:
    """Return the function n -> a training's batches from the n-th on, with a progress bar.

    Args:
        title: of the progress bar.
        size: (width, height) px of the network's input.
        stride: input px of a map's px.
        prefetch: see `batches`.
    """

    def from_batch(start: int) -> Iterator[Batch]:
        end = settings.schedule.steps * settings.schedule.accumulation_steps
        disable = None if ranks.is_rank0() else True
        steps = tqdm(range(start, end), initial=start, total=end, desc=title, disable=disable)
        return batches(
            pools,
            steps,
            batch_size=settings.batch_size,
            size=size,
            sigma=settings.sigma,
            augment=settings.augment,
            seed=seed,
            part=ranks.rank_and_count(),
            stride=stride,
            prefetch=prefetch,
        )

    return from_batch


def write_records(
    curve: Path, metrics: Path, records: Sequence[Record], accuracy: Mapping[str, float], steps: int
) -> None:
    """Write the loss by step, with its terms if there are several, and the numbers at the end; see `source_accuracy`."""
    columns: dict[str, list[float]] = {"step": [r.step for r in records], "loss": [round(r.loss, 6) for r in records]}
    if len(records[0].terms) > 1:
        columns |= {name: [round(r.terms[name], 6) for r in records] for name in records[0].terms}
    write_table(curve, columns)
    write_json(metrics, {"loss": records[-1].loss, **accuracy, "steps": steps})
