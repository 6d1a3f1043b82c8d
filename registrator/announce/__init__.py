"""The announcer: containers that somebody else runs on a Docker host, registered in etcd while they serve."""
