"""Tests of the kernels in two kinds of process: Triton decides when it is imported whether it interprets them."""

import os

# These run in a process of their own, which test_interpreter.py starts.
collect_ignore = [] if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0") else ["interpreted"]
