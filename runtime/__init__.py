"""Containers, images and networks of one host: no daemon, no cluster. `runtime.host.Host` is the way in."""
