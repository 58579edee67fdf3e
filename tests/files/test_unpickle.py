"""Pickles of data come through, from any protocol and from Python 2; pickles of anything else do not run."""

import os
import pickle
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.files import unpickle

RECORD = {
    "image": "s_01_act_02_subact_01_ca_01/a.jpg",
    "joints_2d": np.arange(34.0).reshape(17, 2),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "half": np.arange(3, dtype=np.float16),
    "big": np.arange(3, dtype=">i4"),
    "text": np.array(["a", "bc"]),
    "empty": np.zeros((0, 3)),
    "camera": {"fx": np.array([1145.0]), "k": 0},
    "center": (1.5, 2.5),
    "subject": np.int64(9),
    "scale": np.float32(1.5),
    "flags": {1, 2},
    "raw": b"\x00\xff",
    "nothing": None,
}


def stored(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_was_pickled_comes_out(tmp_path, protocol):
    found = unpickle.load(stored(tmp_path, pickle.dumps([RECORD, RECORD], protocol)))
    assert len(found) == 2
    assert found[0].keys() == RECORD.keys()
    for key, value in RECORD.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(found[0][key], value)
            assert found[0][key].dtype.str[1:] == value.dtype.str[1:]  # the byte order may differ
        else:
            assert found[0][key] == value


def test_an_array_of_python_2_comes_out(tmp_path):
    """As NumPy 1.x wrote it under Python 2: byte strings without an encoding, modules by their old names."""
    content = (
        b"\x80\x02}q\x00U\x06jointsq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87"
        b"Rq\x04(K\x01K\x02\x85cnumpy\ndtype\nq\x05U\x02f8K\x00K\x01\x87Rq\x06(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x10" + np.array([1.5, -2.0]).tobytes() + b"tbs."
    )
    np.testing.assert_array_equal(unpickle.load(stored(tmp_path, content))["joints"], [1.5, -2.0])


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_is_refused_by_name_and_does_not_run(tmp_path, protocol):
    mark = tmp_path / "ran"
    content = pickle.dumps([{"joints_2d": Touch(mark)}], protocol)
    with pytest.raises(ValueError, match=r"asks for (posix|nt|os).system"):
        unpickle.load(stored(tmp_path, content))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"cbuiltins\neval\n(V1\ntR.", r"builtins.eval"),
        (b"c__builtin__\ngetattr\n(V1\nVreal\ntR.", r"__builtin__.getattr"),
        (b"cnumpy\nfromfile\n(V/etc/passwd\ntR.", r"numpy.fromfile"),
        (b"cbuiltins\nset.__class__\n.", r"set.__class__"),
        (b"cpipeline.files.unpickle\nPath\n.", r"unpickle.Path"),
        (b"(i__main__\nAnything\n.", r"__main__.Anything"),
        (b"Pwhere\n.", r"outside of itself"),
        # known names with arguments that no array has
        (b"cbuiltins\nbytes\n(J\xff\xff\xff\x7ftR.", r"bytes made of int"),
        (b"cnumpy\nndarray\n(J\xff\xff\xff\x7ftR.", r"made rather than filled"),
        (b"cnumpy\ndtype\n(VO\ntR.", r"type 'O'"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(J\xff\xff\xff\x7ftVb\ntR.", r"before its contents"),
        (b"c_codecs\nencode\n(Va\nVrot13\ntR.", r"encoding 'rot13'"),
        # setting attributes of what it got
        (b"cnumpy\ndtype\n(N}V_function\nI1\nstb.", r"tries to change dtype"),
        (b"cbuiltins\ndict\n}V__call__\nI1\nsb.", r"tries to change dict"),
    ],
)
def test_nothing_else_is_reached(tmp_path, content, sentence):
    with pytest.raises(ValueError, match=sentence):
        unpickle.load(stored(tmp_path, content))


def test_an_array_that_announces_more_than_it_has(tmp_path):
    content = pickle.dumps(np.arange(4, dtype=np.uint8), 2)
    with pytest.raises(ValueError, match="bytes by its shape"):
        unpickle.load(stored(tmp_path, content.replace(b"K\x04\x85", b"K\xff\x85")))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_pickle_is_a_sentence(tmp_path_factory, data):
    content = bytearray(pickle.dumps([RECORD], data.draw(st.sampled_from([2, 3, 4]))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(1, len(content)))]
    path = stored(tmp_path_factory.mktemp("damaged"), bytes(content))
    with suppress(ValueError):  # a sentence, or a value that happens to be whole; nothing else
        unpickle.load(path)
