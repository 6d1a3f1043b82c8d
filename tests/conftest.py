"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# The machines that run these are shared: how long one example took says nothing.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
