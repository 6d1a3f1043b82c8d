"""A drop-in confd: renders templates from a key-value store, and applies them until they hold."""

__version__ = "0.1.0"
