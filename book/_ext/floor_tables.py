"""Sphinx extension: the interactive roofline counts with the package's own numbers, written for it at each build.

``bncourse.kernels.floor`` holds the rates of the devices and the bytes and operations of a kernel, and nothing else in
the book does. The module ``floor_tables.mjs`` in the output is made from it.
"""

from typing import Any

from figure_modules import write_module
from sphinx.application import Sphinx

from bncourse.kernels.floor import (
    DESIGNS,
    DEVICES,
    OPERATIONS,
    bytes_per_channel,
    bytes_per_value,
    flops_per_value,
    passes,
)

# The rates of the devices are those of float32, in which the kernels compute on values of these.
DTYPES = ("bfloat16", "float16", "float32")


def tables() -> dict[str, Any]:
    """Return what ``floor.mjs`` computes from: rates by device; bytes, operations and passes by kernel."""
    return {
        "devices": {name: {"bandwidth": device.bandwidth, "flops": device.flops} for name, device in DEVICES.items()},
        "dtypes": DTYPES,
        "designs": DESIGNS,
        "operations": {
            operation: {
                "flopsPerValue": flops_per_value(operation),
                "bytesPerChannel": bytes_per_channel(operation),
                "designs": {
                    design: {
                        "bytesPerValue": {dtype: bytes_per_value(operation, dtype, design) for dtype in DTYPES},
                        "passes": [part._asdict() for part in passes(operation, design)],
                    }
                    for design in DESIGNS
                },
            }
            for operation in OPERATIONS
        },
    }


def write_tables(app: Sphinx) -> None:
    """Write the module beside those that import it."""
    write_module(app, "floor_tables", tables())


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", write_tables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
