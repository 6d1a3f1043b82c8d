"""The registry: records in etcd, their keys, and the port through which everybody reads and writes them."""
