"""Chapters re-run as they were stored: on one thread, and without the reader's progress."""

import os
import tempfile

os.environ["BNCOURSE_DATA"] = tempfile.mkdtemp(prefix="bncourse-")
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
