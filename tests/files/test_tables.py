"""Tables: a written table reads back, and equal values give equal bytes."""

import numpy as np
import pytest

from pipeline.files.tables import read_frame, read_table, write_table


def test_an_unknown_number_is_an_empty_cell(tmp_path):
    path = tmp_path / "t.csv"
    write_table(path, {"joint": ["a,b", 'c"'], "value": np.array([1 / 3, np.nan]), "count": np.array([1, 2])})
    assert path.read_bytes() == b'joint,value,count\n"a,b",0.3333,1\n"c""",,2\n'
    assert read_table(path) == {"joint": ["a,b", 'c"'], "value": ["0.3333", ""], "count": ["1", "2"]}


def test_columns_of_different_lengths_are_refused(tmp_path):
    with pytest.raises(ValueError, match="shorter"):
        write_table(tmp_path / "t.csv", {"a": [1, 2], "b": [1]})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"", "expected a header"), (b"a,b\n1\n", "line 2"), (b"\xff\xfe", "table")]
)
def test_a_file_that_is_no_table_is_one_sentence(tmp_path, content, sentence):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        read_table(tmp_path / "t.csv")


def test_a_data_frame_has_numbers_and_keeps_names_as_text(tmp_path):
    write_table(tmp_path / "t.csv", {"round": ["1", "NA"], "pckh_50": [50.25, None], "count": [1, 2]})
    frame = read_frame(tmp_path / "t.csv")
    assert list(frame["round"]) == ["1", "NA"]
    assert frame["pckh_50"].isna().tolist() == [False, True] and frame["pckh_50"][0] == 50.25
