"""What all tests share."""

from __future__ import annotations

import signal

from hypothesis import settings

# The machines that run these are shared: how long one example took says nothing.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")

# A shell that starts the tests in the background has SIGINT ignored, and what they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
