"""The names of Compose's keys, by section: what tells a key that hecd does not serve from a misspelt one.

Names only, as the Compose Specification had them in October 2025.
"""

from __future__ import annotations

_NAMES = """
file: configs include models name networks secrets services version volumes
service: annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs
    container_name cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus
    cpuset credential_spec depends_on deploy develop device_cgroup_rules devices dns dns_opt dns_search
    domainname entrypoint env_file environment expose extends external_links extra_hosts gpus group_add
    healthcheck hostname image init ipc isolation label_file labels links logging mac_address mem_limit
    mem_reservation mem_swappiness memswap_limit models network_mode networks oom_kill_disable oom_score_adj
    pid pids_limit platform ports post_start pre_stop privileged profiles provider pull_policy
    pull_refresh_after read_only restart runtime scale secrets security_opt shm_size stdin_open
    stop_grace_period stop_signal storage_opt sysctls tmpfs tty ulimits use_api_socket user userns_mode uts
    volumes volumes_from working_dir
deploy: endpoint_mode labels mode placement replicas resources restart_policy rollback_config update_config
update_config: delay failure_action max_failure_ratio monitor order parallelism
resources: limits reservations
limits: cpus memory pids
reservations: cpus devices generic_resources memory
placement: constraints max_replicas_per_node preferences
placement.preference: spread
healthcheck: disable interval retries start_interval start_period test timeout
port: app_protocol host_ip mode name protocol published target
volume: bind consistency image read_only source target tmpfs type volume
volume.bind: create_host_path propagation recursive selinux
volume.tmpfs: mode size
env_file: format path required
ulimit: hard soft
device: permissions source target
secret: environment external file name
secret_use: gid mode source target uid
config: content environment external file name
logging: driver options
volume_top: driver driver_opts external labels name
"""


def _sections() -> dict[str, tuple[str, ...]]:
    """Section -> names. A line that is indented goes on with the section above it."""
    sections = (line.partition(":") for line in _NAMES.replace("\n    ", " ").strip().splitlines())
    return {section: tuple(names.split()) for section, _, names in sections}


COMPOSE_KEYS = _sections()

# What to write instead of a key that hecd does not serve: one of Compose, or one that other load balancers have.
INSTEAD: dict[tuple[str, str], str] = {
    ("file", "networks"): "every instance is on the network of its node",
    ("service", "build"): "build the image first, then `hecd image load`, and name it with image",
    ("service", "container_name"): "instances are called SERVICE.NUMBER",
    ("service", "cpus"): "write deploy.resources.limits.cpus",
    ("service", "expose"): "ports names what is served",
    ("service", "hostname"): "the host name of an instance is its own name",
    ("service", "init"): "every instance has an init as process 1",
    ("service", "mem_limit"): "write deploy.resources.limits.memory",
    ("service", "pids_limit"): "write deploy.resources.limits.pids",
    ("service", "privileged"): "name what is needed with cap_add",
    ("secret", "environment"): "write it to a file of the nodes: a release stands in etcd",
    ("service", "scale"): "write deploy.replicas",
    ("deploy", "labels"): "write labels beside image",
    ("deploy", "restart_policy"): "instances are always started again",
    ("deploy", "rollback_config"): "a rollback follows update_config",
    ("x-hecd.outliers", "within"): "load balancers count errors in a row, not in a time; write errors. A release that "
    "fails more than the one before is turned back by x-hecd.judge",
    ("x-hecd.timeouts", "client"): "write idle (between two requests) or tunnel (WebSockets and TCP)",
    ("x-hecd.timeouts", "keep_alive"): "write idle",
    ("x-hecd.timeouts", "server"): "write response",
}
