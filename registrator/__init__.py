"""Who runs what, and who is where: agents, the registry in etcd, the control loop and the `hecd` command."""

__version__ = "0.1.0"
