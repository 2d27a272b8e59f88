"""Results as bytes and back: tables and arrays, exactly, without pickles.

Reading a pickle runs whatever its writer put into it. What is written here holds numbers and text only, so that a cache
folder may be shared.
"""

import io
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

if TYPE_CHECKING:
    import pandas as pd

Arrays = list[Shaped[np.ndarray, "..."]]


def encode(result: Any) -> bytes:
    """A frame, or a dictionary of arrays and frames, as bytes.

    Parameters
    ----------
    result : frames have the default index and columns of numbers, truth values, strings or categories of strings;
        arrays hold numbers or truth values.

    Raises
    ------
    TypeError : for anything else; the message names the part that does not fit.
    """
    import pandas as pd

    arrays: Arrays = []
    if isinstance(result, pd.DataFrame):
        layout = _describe_frame(result, "the frame", arrays)
    elif isinstance(result, dict) and all(isinstance(name, str) for name in result):
        layout = {"parts": {name: _describe(value, f"part {name!r}", arrays) for name, value in result.items()}}
    else:
        raise TypeError(f"expected a frame, or a dictionary of arrays and frames by name, got {type(result).__name__}")
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(layout).encode(), dtype=np.uint8)
    np.savez_compressed(buffer, text, *arrays)
    return buffer.getvalue()


def decode(content: bytes) -> Any:
    """What :func:`encode` was given. Columns of strings come in pandas' own type for them."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        text, *arrays = (file[f"arr_{number}"] for number in range(len(file.files)))
    layout = json.loads(text.tobytes())
    if "parts" in layout:
        return {name: _restore(part, arrays) for name, part in layout["parts"].items()}
    return _restore(layout, arrays)


def _describe(value: Any, where: str, arrays: Arrays) -> dict[str, Any]:
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return _describe_frame(value, where, arrays)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biufc":
        kind = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise TypeError(f"{where}: expected a frame or an array of numbers or truth values, got {kind}")
    return {"array": _add(value, arrays)}


def _describe_frame(frame: "pd.DataFrame", where: str, arrays: Arrays) -> dict[str, Any]:
    import pandas as pd

    if not frame.index.equals(pd.RangeIndex(len(frame))):
        raise TypeError(f"{where}: expected the default index, got {frame.index!r}; reset_index() makes it a column")
    if not all(isinstance(name, str) for name in frame.columns) or not frame.columns.is_unique:
        raise TypeError(f"{where}: expected columns with names of their own, got {list(frame.columns)}")
    columns = {name: _describe_column(frame[name], f"{where}, column {name!r}", arrays) for name in frame.columns}
    return {"columns": columns, "rows": len(frame)}


def _describe_column(column: "pd.Series[Any]", where: str, arrays: Arrays) -> dict[str, Any]:
    import pandas as pd

    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        return {"array": _add(column.to_numpy(), arrays)}
    if isinstance(column.dtype, pd.CategoricalDtype) and _are_strings(column.cat.categories):
        codes, ordered = _add(column.cat.codes.to_numpy(), arrays), bool(column.cat.ordered)
        return {"codes": codes, "texts": list(column.cat.categories), "ordered": ordered}
    if (isinstance(column.dtype, pd.StringDtype) or column.dtype == object) and _are_strings(column.dropna()):
        places, texts = pd.factorize(column)
        return {"codes": _add(places, arrays), "texts": list(texts)}
    raise TypeError(f"{where}: expected numbers, truth values, strings or categories of strings, got {column.dtype}")


def _are_strings(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _add(value: Shaped[np.ndarray, "..."], arrays: Arrays) -> int:
    arrays.append(value)
    return len(arrays) - 1


def _restore(part: dict[str, Any], arrays: Arrays) -> Any:
    import pandas as pd

    if "array" in part:
        return arrays[part["array"]]
    columns = {name: _restore_column(column, arrays) for name, column in part["columns"].items()}
    return pd.DataFrame(columns, index=pd.RangeIndex(part["rows"]), columns=list(columns))


def _restore_column(column: dict[str, Any], arrays: Arrays) -> Any:
    import pandas as pd

    if "array" in column:
        return arrays[column["array"]]
    codes, texts = arrays[column["codes"]], column["texts"]
    if "ordered" in column:
        return pd.Categorical.from_codes(codes, texts, ordered=column["ordered"])
    values = [texts[code] if code >= 0 else None for code in codes]
    return pd.Series(values, dtype=pd.Series(["a"]).dtype)
