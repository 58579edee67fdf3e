"""What both stages that learn do around the loop: batches with a progress bar, and what is told of the training."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from pipeline.files.atomic import write_json
from pipeline.files.tables import write_table
from pipeline.training import ranks
from pipeline.training.augment import Augment
from pipeline.training.batches import Batch, Pool, batches
from pipeline.training.loop import Record, Schedule


class Settings(Protocol):
    """What the sections `pretrain` and `retrain` have in common."""

    @property
    def batch_size(self) -> int: ...
    @property
    def sigma(self) -> float: ...
    @property
    def schedule(self) -> Schedule: ...
    @property
    def augment(self) -> Augment: ...


def batches_from(
    title: str, pools: Sequence[Pool], settings: Settings, size: tuple[int, int], stride: int, seed: int, beside: bool
) -> Callable[[int], Iterator[Batch]]:
    """n -> a training's batches from the n-th on, with a progress bar.

    Args:
        title: of the bar.
        size: (width, height) px of the network's input.
        stride: input px of a map's px.
        beside: see `batches`.
    """

    def from_batch(first: int) -> Iterator[Batch]:
        last = settings.schedule.steps * settings.schedule.accumulate
        shown = None if ranks.first() else True
        steps = tqdm(range(first, last), initial=first, total=last, desc=title, disable=shown)
        part = ranks.rank_and_count()
        given = (settings.batch_size, size, settings.sigma, settings.augment, seed, part, stride, beside)
        return batches(pools, steps, *given)

    return from_batch


def write_records(curve: Path, metrics: Path, records: Sequence[Record], source_pckh: float, steps: int) -> None:
    """The loss by step, with its terms where it has several, and the numbers at the end."""
    columns: dict[str, list[float]] = {"step": [r.step for r in records], "loss": [round(r.loss, 6) for r in records]}
    if len(records[0].terms) > 1:
        columns |= {name: [round(r.terms[name], 6) for r in records] for name in records[0].terms}
    write_table(curve, columns)
    write_json(metrics, {"loss": records[-1].loss, "source_pckh_50": source_pckh, "steps": steps})
