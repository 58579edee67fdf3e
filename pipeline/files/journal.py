"""A journal of the items that a long stage has made, so that a killed stage resumes instead of starting over.

The items (a JPEG and a few facts about it) are appended to one file in the stage's scratch folder as soon as they are made,
and handed on. A process that is killed leaves at most one half-written item at the end; the next run notices it by its
length or checksum, cuts it off and makes it again. How a stage uses it:

    with scratch.resumable_folder(__file__, [annotations], config, stamps) as folder:  # named after a digest of them
        crops = journal.kept(folder / "crops", lambda first: parallel.in_order(cut, jobs[first:]))
        samples.write(out, ..., (jpeg for jpeg, facts in crops))
"""

import json
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

Item = tuple[bytes, dict[str, Any]]  # a JPEG (b"": there is none), and facts that json can hold

_HEAD = struct.Struct("<III")  # bytes of the facts, bytes of the JPEG, CRC-32 of both


def kept(path: Path, make: Callable[[int], Iterable[Item]]) -> Iterator[Item]:
    """Yield all items in order: first the items of an earlier run, then the others, as they are made.

    Args:
        path: the journal; it may be absent. Its reader must own it exclusively (`scratch.resumable_folder` ensures that).
        make: first -> the items from that number on; called once, and not before the earlier ones are through.

    Memory holds one item at a time.
    """
    with path.open("a+b") as file:
        file.seek(0)
        count, whole = 0, 0
        while (item := _read(file)) is not None:
            count, whole = count + 1, file.tell()
            yield item
        file.truncate(whole)
        for jpeg, facts in make(count):
            text = json.dumps(facts).encode()
            file.write(_HEAD.pack(len(text), len(jpeg), zlib.crc32(jpeg, zlib.crc32(text))) + text + jpeg)
            yield jpeg, facts


def _read(file: BinaryIO) -> Item | None:
    """Return the next item; None at the end, or if a killed process left it half-written."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    text_length, jpeg_length, checksum = _HEAD.unpack(head)
    text = file.read(text_length)
    jpeg = file.read(jpeg_length)
    if len(jpeg) < jpeg_length or zlib.crc32(jpeg, zlib.crc32(text)) != checksum:
        return None
    return jpeg, json.loads(text)
