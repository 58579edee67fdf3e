"""The keys of a target's frames. Every artefact about frames carries them; nothing is aligned by position alone."""

from dataclasses import dataclass

import h5py
import numpy as np

from pipeline.files import hdf5


@dataclass(frozen=True, eq=False)
class FrameKeys:
    """The keys of frame groups, one entry per instant that all cameras record.

    Attributes:
        sequence: (frames,) text, the recording that the frame is from.
        number: (frames,) int, the frame's number in its recording, from 0.
        split: (frames,) text, "train" (may be learned from, without labels) or "test" (only measured on).
        person: (frames,) text, the person's name; limb lengths are estimated per person.
    """

    sequence: np.ndarray
    number: np.ndarray
    split: np.ndarray
    person: np.ndarray

    def __post_init__(self) -> None:
        lengths = {len(self.sequence), len(self.number), len(self.split), len(self.person)}
        if len(lengths) != 1:
            raise ValueError(f"frame keys: columns of different lengths {sorted(lengths)}")
        wrong = sorted(set(np.unique(self.split).tolist()) - {"train", "test"})
        if wrong:
            raise ValueError(f"frame keys: split must be 'train' or 'test', got '{wrong[0]}'")

    def __len__(self) -> int:
        return len(self.number)

    def take(self, rows: np.ndarray | slice) -> "FrameKeys":
        """Return the keys of some frames; `rows` is an index or a mask, (frames,), or a slice."""
        return FrameKeys(self.sequence[rows], self.number[rows], self.split[rows], self.person[rows])

    def rows_of(self, other: "FrameKeys") -> np.ndarray:
        """Return the row of each of `other`'s frames here, (other frames,) int; -1 if absent."""
        place = {key: row for row, key in enumerate(zip(self.sequence.tolist(), self.number.tolist(), strict=True))}
        keys = zip(other.sequence.tolist(), other.number.tolist(), strict=True)
        return np.array([place.get(key, -1) for key in keys], dtype=int)

    def require_same(self, other: "FrameKeys", what: str) -> None:
        """Raise ValueError unless two artefacts have the same frames in the same order."""
        same = len(self) == len(other) and np.array_equal(self.sequence, other.sequence)
        if not (same and np.array_equal(self.number, other.number)):
            raise ValueError(f"{what}: speaks of other frames ({len(other)} against {len(self)}); rerun the pipeline")

    def listing(self) -> str:
        """Return the frames as text, one per line: split, sequence, number."""
        rows = zip(self.split.tolist(), self.sequence.tolist(), self.number.tolist(), strict=True)
        return "".join(f"{split} {sequence} {number}\n" for split, sequence, number in rows)

    def put(self, file: h5py.Group) -> None:
        hdf5.put_text(file, "sequence", self.sequence)
        file.create_dataset("number", data=np.asarray(self.number, dtype=np.int32))
        hdf5.put_text(file, "split", self.split)
        hdf5.put_text(file, "person", self.person)

    @staticmethod
    def get(file: h5py.Group) -> "FrameKeys":
        return FrameKeys(
            hdf5.get_text(file, "sequence"),
            file["number"][...],
            hdf5.get_text(file, "split"),
            hdf5.get_text(file, "person"),
        )
