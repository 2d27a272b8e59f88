"""Settings that every test shares."""

import hypothesis

# The first example of a test may import torch, and machines differ: time is no verdict here. Derandomized, so that a
# run can be repeated.
hypothesis.settings.register_profile("course", deadline=None, derandomize=True)
hypothesis.settings.load_profile("course")
