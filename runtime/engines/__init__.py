"""What turns a bundle into processes: an OCI runtime below a conmon shim."""
