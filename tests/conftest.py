"""Settings that every test shares."""

import hypothesis

# The first example of a test may import torch, and machines differ: time is no verdict here. Derandomized, so that a
# run can be repeated; `--hypothesis-profile=search` looks further.
hypothesis.settings.register_profile("default-here", deadline=None, derandomize=True)
hypothesis.settings.register_profile("search", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("default-here")
