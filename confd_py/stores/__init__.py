"""Drivers of key-value stores; each is one file and the only one that imports its library."""
