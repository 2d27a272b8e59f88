"""Results come back from bytes as they were, and nothing is read that could run."""

import io
import pickle
import zipfile

import numpy as np
import pandas as pd
import pytest

from bncourse.lab.encoding import decode, encode

FRAME = pd.DataFrame(
    {
        "seed": np.array([3, 1, 2], dtype=np.int16),
        "rate": [0.1, 1 / 3, np.nan],
        "quantity": ["loss", "größe", "loss"],
        "single": np.array([1e-45, -0.0, np.inf], dtype=np.float32),
        "finite": [True, False, True],
        "arm": pd.Categorical(
            ["none", "batch norm", "none"], categories=["none", "batch norm", "unused"], ordered=True
        ),
    }
)


def test_a_frame_comes_back_bit_by_bit():
    again = decode(encode(FRAME))
    pd.testing.assert_frame_equal(again, FRAME, check_exact=True)
    assert list(again.columns) == list(FRAME.columns)
    for name in ("rate", "single"):
        assert again[name].to_numpy().tobytes() == FRAME[name].to_numpy().tobytes()


def test_missing_strings_stay_missing():
    frame = pd.DataFrame({"layer": ["a", None, "b", "a"], "empty": [None] * 4}, dtype="str")
    pd.testing.assert_frame_equal(decode(encode(frame)), frame)


@pytest.mark.parametrize("frame", [FRAME.iloc[:0], pd.DataFrame(), FRAME[["quantity"]].iloc[:0]])
def test_frames_without_rows_keep_their_columns_and_types(frame):
    again = decode(encode(frame))
    assert list(again.columns) == list(frame.columns)
    assert again.dtypes.to_dict() == frame.dtypes.to_dict()
    assert len(again) == 0


def test_a_dictionary_of_arrays_and_frames_comes_back():
    result = {
        "b": np.arange(6, dtype=np.uint8).reshape(2, 3).T,
        "a": np.array(2.5),
        "table": FRAME,
        "z": np.array([1 + 2j, np.nan]),
        "none": np.zeros((0, 4), dtype=np.float32),
    }
    again = decode(encode(result))
    assert list(again) == list(result)
    pd.testing.assert_frame_equal(again.pop("table"), FRAME)
    for name, array in again.items():
        assert array.dtype == result[name].dtype
        np.testing.assert_array_equal(array, result[name])


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (3.5, "expected a frame, or a dictionary of arrays and frames by name, got float"),
        ({1: np.zeros(2)}, "by name, got dict"),
        ({"mean": 3.5}, "part 'mean': expected a frame or an array of numbers or truth values, got float"),
        ({"names": np.array(["a"], dtype=object)}, "part 'names': .* got an array of object"),
        (FRAME.set_index("seed"), "the frame: expected the default index"),
        (FRAME.iloc[1:], "the frame: expected the default index"),
        ({"table": pd.DataFrame([[1, 2]])}, r"part 'table': expected columns with names of their own, got \[0, 1\]"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "names of their own"),
        (pd.DataFrame({"x": [[1], [2]]}), "column 'x'"),
        (pd.DataFrame({"x": [{"a": 1}, 2]}), "column 'x'"),
        (pd.DataFrame({"x": pd.to_datetime(["2020-01-01"])}), "column 'x': .* got datetime64"),
        (pd.DataFrame({"x": pd.to_datetime([])}), "column 'x': .* got datetime64"),
        (pd.DataFrame({"x": pd.Categorical([1, 2])}), "column 'x': .* got category"),
        (pd.DataFrame({"x": pd.array([1, None], dtype="Int64")}), "column 'x': .* got Int64"),
    ],
)
def test_what_would_not_come_back_is_refused_by_name(result, message):
    with pytest.raises(TypeError, match=message):
        encode(result)


def test_an_entry_with_a_pickle_in_it_is_not_read():
    """Catches allow_pickle=True: whoever may write the cache could run code in it."""
    buffer = io.BytesIO(encode({"a": np.zeros(3)}))
    evil = io.BytesIO()
    np.lib.format.write_array(evil, np.array([print], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(changed := io.BytesIO(), "w") as new:
        new.writestr("arr_0.npy", old.read("arr_0.npy"))
        new.writestr("arr_1.npy", evil.getvalue())
    assert pickle.dumps(print) in evil.getvalue() or b"print" in evil.getvalue()
    with pytest.raises(ValueError, match="allow_pickle"):
        decode(changed.getvalue())
