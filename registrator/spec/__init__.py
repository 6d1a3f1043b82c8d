"""Compose files: read, checked, and turned into what the registry keeps."""

from registrator.spec.fault import Fault, SpecError
from registrator.spec.project import load_project

__all__ = ["Fault", "SpecError", "load_project"]
