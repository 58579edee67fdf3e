"""A journal keeps what was made: a killed run's successor makes the rest, and only the rest."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.files import journal
from pipeline.files.journal import Item

ITEMS = [(bytes([number]) * (3 * number), {"number": number}) for number in range(8)]  # the first has no image


class Maker:
    """Makes the items, and notes from where on; `fail_at` is where it is interrupted."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.first: list[int] = []
        self._fail_at = fail_at

    def __call__(self, first: int) -> Iterator[Item]:
        self.first.append(first)
        for number in range(first, len(ITEMS)):
            if number == self._fail_at:
                raise KeyboardInterrupt
            yield ITEMS[number]


def interrupted(path: Path, fail_at: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        list(journal.kept(path, Maker(fail_at)))


def test_what_an_earlier_run_made_is_not_made_again(tmp_path):
    interrupted(tmp_path / "crops", 5)
    maker = Maker()
    assert list(journal.kept(tmp_path / "crops", maker)) == ITEMS
    assert maker.first == [5]
    again = Maker()
    assert list(journal.kept(tmp_path / "crops", again)) == ITEMS
    assert again.first == [8]


def test_cut_off_at_any_byte_the_whole_items_before_count(tmp_path):
    interrupted(tmp_path / "whole", 4)
    whole = (tmp_path / "whole").read_bytes()
    ends = []
    for number in range(5):
        (tmp_path / f"first{number}").unlink(missing_ok=True)
        interrupted(tmp_path / f"first{number}", number)
        ends.append((tmp_path / f"first{number}").stat().st_size)
    for length in range(len(whole) + 1):
        path = tmp_path / "cut"
        path.write_bytes(whole[:length])
        maker = Maker()
        assert list(journal.kept(path, maker)) == ITEMS
        assert maker.first == [sum(end <= length for end in ends[1:])]


def test_a_byte_that_changed_on_the_disk_is_noticed(tmp_path):
    interrupted(tmp_path / "crops", 6)
    whole = bytearray((tmp_path / "crops").read_bytes())
    whole[len(whole) // 2] ^= 1
    (tmp_path / "crops").write_bytes(whole)
    maker = Maker()
    assert list(journal.kept(tmp_path / "crops", maker)) == ITEMS
    assert maker.first[0] < 6
