"""The process in which requests wait: beside one HAProxy, knowing neither etcd nor containers."""
