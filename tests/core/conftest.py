"""Hypothesis profiles: the same examples in every CI run; new ones at a desk."""

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=60)
settings.register_profile("desk", deadline=None, max_examples=60)
settings.load_profile("ci" if os.environ.get("CI") else "desk")
