"""A sandbox for the tests of this folder; where the machine has none they are skipped, in CI they fail."""

import os

import pytest

from bncourse.exercises.grading.sandbox import SandboxError, open_sandbox

SECONDS = 3.0


@pytest.fixture(scope="session")
def sandbox():
    try:
        with open_sandbox(SECONDS, []) as opened:
            yield opened
    except SandboxError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
