"""What all tests share."""

from __future__ import annotations

import signal
import sys

from hypothesis import settings

from tests.fakes.etcd_server import EtcdServer

# The machines that run these are shared: how long one example took says nothing. Examples are for what we wrote: later
# Pythons, which run the same tests once more, take fewer.
settings.register_profile("shared", deadline=None, max_examples=100 if sys.version_info < (3, 12) else 25)
settings.load_profile("shared")

# Benches measure an etcd as everybody has it; what tests prove does not rest on a disk that may stand still.
EtcdServer.syncs = False

# A shell that starts the tests in the background has SIGINT ignored, and what they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
