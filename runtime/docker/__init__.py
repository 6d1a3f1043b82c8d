"""Containers that a Docker or Podman of this host makes, with the addresses and the reachability of all others."""
