"""The agent of one node: runs what it is assigned, probes it, and announces what it runs."""
