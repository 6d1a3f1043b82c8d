"""From keys to what the registry keeps, and the fault of each that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from registrator.model.canary import Step
from registrator.model.names import ServiceName
from registrator.model.release import (
    Device,
    Healthcheck,
    Limits,
    LogLimits,
    MemoryFile,
    Mount,
    Settings,
    Ulimit,
    Wishes,
)
from registrator.model.service import Check, Port, Project, ServiceSpec, Traffic, Update
from registrator.spec import SpecError, load_project

One = Callable[..., ServiceSpec]
Faults = Callable[..., list[str]]

EVERYTHING = """
name: shop
version: "3.8"
x-common: &common {labels: {team: a}, restart: always}
services:
  web-1:
    <<: *common
    image: registry.example:5000/team/web:1.2@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
    entrypoint: /bin/run --flag "two words"
    command: ["serve", "$$HOME"]
    user: 1000:1000
    working_dir: /srv
    read_only: yes
    tmpfs: [/run, "/tmp:size=64m"]
    volumes:
      - ./data:/data:ro
      - ~/conf:/etc/conf
      - {type: bind, source: /srv/x/../y, target: /y/, read_only: true}
      - {type: tmpfs, target: /scratch, tmpfs: {size: 1g}}
    ports:
      - "8080:80"
      - {target: 9000, published: "9001", protocol: tcp, app_protocol: tcp, mode: ingress, name: raw}
    healthcheck:
      {test: curl -f localhost, interval: 10s, timeout: 2s, retries: 5, start_period: 1m, start_interval: 100ms}
    stop_signal: usr1
    stop_grace_period: 1m30s
    deploy:
      mode: replicated
      replicas: "4"
      update_config:
        {parallelism: 2, delay: 1s, monitor: 3s, order: stop-first, failure_action: pause, max_failure_ratio: 0.5}
      resources: {limits: {cpus: "0.5", memory: 64M, pids: 100}}
    x-hecd:
      hostnames: [Web.Example, "*.web.example"]
      balance: leastconn
      drain_timeout: 20s
      progress_deadline: 5m
      check: {path: "/health?full=1", interval: 500ms, timeout: 2s, rise: 2, fall: 3}
  worker:
    image: worker
    x-other: {anything: [goes]}
"""


def test_everything_that_is_served(load: Callable[..., Project], tmp_path: Path) -> None:
    project = load(EVERYTHING, {"HOME": "/home/me"})
    assert project.name == "shop" and project.warnings == ("version is obsolete in Compose and is ignored",)
    assert project.services[0] == ServiceSpec(
        ServiceName("web-1"),
        Settings(
            image=f"registry.example:5000/team/web:1.2@sha256:{'0123456789abcdef' * 4}",
            entrypoint=("/bin/run", "--flag", "two words"),
            command=("serve", "$HOME"),
            user="1000:1000",
            working_dir="/srv",
            read_only=True,
            mounts=(
                Mount("bind", "/data", f"{tmp_path}/data", read_only=True),
                Mount("bind", "/etc/conf", "/home/me/conf"),
                Mount("bind", "/y", "/srv/y", read_only=True),
                Mount("tmpfs", "/scratch", size_bytes=1 << 30),
                Mount("tmpfs", "/run"),
                Mount("tmpfs", "/tmp", size_bytes=64 << 20),
            ),
            limits=Limits(0.5, 64 << 20, 100),
            stop_signal="SIGUSR1",
            stop_grace_s=90.0,
            labels={"team": "a"},
            healthcheck=Healthcheck(
                "exec", test=("/bin/sh", "-c", "curl -f localhost"), interval_s=10, timeout_s=2, retries=5,
                start_period_s=60, start_interval_s=0.1,
            ),
            target_ports=(80, 9000),
        ),
        replicas=4,
        update=Update(2, 1.0, 3.0, "stop-first", "pause", 0.5, 300.0),
        traffic=Traffic(
            (Port(8080, 80, "http", ("web.example", "*.web.example")), Port(9001, 9000, "tcp")),
            "leastconn",
            20.0,
            Check("/health?full=1", 0.5, 2.0, 2, 3),
        ),
    )  # fmt: skip


WISHES = """
name: shop
services:
  web:
    image: app
    cap_add: [NET_ADMIN]
    cap_drop: ALL
    security_opt: ["no-new-privileges:false", "seccomp:calls.json"]
    userns_mode: host
    ulimits: {nofile: {soft: 1024, hard: "4096"}, core: 0}
    devices: [/dev/fuse, "/dev/dri/card0:/dev/card:rw", {source: /dev/kvm, permissions: r}]
    sysctls: {net.core.somaxconn: 1024}
    group_add: [audio, 77]
    extra_hosts: ["db:10.0.0.9", "six=[fd00::1]", "seven:fd00::7", "up:host-gateway"]
    dns: 9.9.9.9
    dns_search: [a.example, b.example]
    dns_opt: ["ndots:2"]
    tty: true
    stdin_open: yes
    logging: {driver: json-file, options: {max-size: 10m, max-file: "3"}}
    secrets:
      - password
      - {source: password, target: other, mode: 0o440, uid: "1000", gid: "1000"}
      - {source: password, target: /etc/password, mode: "0400"}
    configs: [app, {source: inline, target: /etc/inline.conf}]
    volumes:
      [data:/data, {type: volume, source: named, target: /named, read_only: true}, /own, {type: volume, target: /a/}]
secrets: {password: {file: ./password.txt}}
configs: {app: {file: /srv/app.conf}, inline: {content: "a = 1"}}
volumes: {data: , named: {name: its-own}}
"""


def test_wishes(load: Callable[..., Project], tmp_path: Path) -> None:
    (web,) = load(WISHES).services
    password = f"{tmp_path}/password.txt"
    assert web.settings.wishes == Wishes(
        ulimits=(Ulimit("nofile", 1024, 4096), Ulimit("core", 0, 0)),
        devices=(Device("/dev/fuse"), Device("/dev/dri/card0", "/dev/card", "rw"), Device("/dev/kvm", access="r")),
        sysctls={"net.core.somaxconn": "1024"},
        group_add=("audio", "77"),
        extra_hosts={"db": "10.0.0.9", "six": "fd00::1", "seven": "fd00::7", "up": "host-gateway"},
        dns=("9.9.9.9",),
        dns_search=("a.example", "b.example"),
        dns_options=("ndots:2",),
        files=(
            MemoryFile("/run/secrets/password", password),
            MemoryFile("/run/secrets/other", password, None, 0o440, 1000, 1000),
            MemoryFile("/etc/password", password, None, 0o400),
            MemoryFile("/app", "/srv/app.conf"),
            MemoryFile("/etc/inline.conf", "", "a = 1"),
        ),
        cap_add=("NET_ADMIN",),
        cap_drop=("ALL",),
        no_new_privileges=False,
        seccomp=f"{tmp_path}/calls.json",
        userns="host",
        tty=True,
        stdin_open=True,
        log=LogLimits(10 << 20, 3),
    )
    assert web.settings.mounts == (
        Mount("volume", "/data", "shop_data"), Mount("volume", "/named", "its-own", read_only=True),
        Mount("volume", "/own"), Mount("volume", "/a"),
    )  # fmt: skip


def canary(steps: str, more: str = "") -> str:
    return f"ports: [1:1]\nx-hecd: {{canary: [{steps}]{more}}}"


def test_a_canary_is_read(one: Callable[..., ServiceSpec]) -> None:
    assert one("").update.canary == ()
    assert one(canary("{weight: 1, for: 60s}, {weight: '25', for: 5m}")).update.canary == (
        Step(1, 60.0),
        Step(25, 300.0),
    )


@pytest.mark.parametrize(
    ("extra", "judge"),
    [
        ("", ("failures",)),
        ("strategy: blue-green", ("failures", "queue")),
        ("strategy: blue-green, judge: [failures]", ("failures",)),
        ("judge: true", ("failures", "p99", "queue")),
        ("judge: false", ()),
        ("judge: []", ()),
        ("judge: [queue, failures]", ("failures", "queue")),
    ],
)
def test_by_what_a_release_is_judged(one: Callable[..., ServiceSpec], extra: str, judge: tuple[str, ...]) -> None:
    assert one(f"ports: [1:1]\nx-hecd: {{{extra}}}").update.judge == judge


@pytest.mark.parametrize(
    ("top", "fault"),
    [
        (
            "secrets: {s: {environment: X}}",
            "secrets.s.environment: is a key of Compose that hecd does not",
        ),
        (
            "configs: {c: {}}\nservices: {web: {image: i, configs: [c]}}",
            "configs.c: needs a file or a content",
        ),
        ("volumes: {v: {driver: nfs}}", "volumes.v.driver: must be local; is 'nfs'"),
        ("volumes: {v: {name: a b}}", "volumes.v.name: must be letters, digits"),
    ],
)
def test_faults_at_the_top(load: Callable[..., Project], top: str, fault: str) -> None:
    text = top if "services" in top else f"{top}\nservices: {{web: {{image: i}}}}"
    with pytest.raises(SpecError) as caught:
        load(text)
    assert any(fault in str(f) for f in caught.value.faults), [str(f) for f in caught.value.faults]


def test_what_is_left_away_has_the_models_defaults(load: Callable[..., Project]) -> None:
    (web,) = load("services: {web: {image: app}}").services
    assert web == ServiceSpec(ServiceName("web"), Settings("app", healthcheck=Healthcheck(kind="none")))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("ports: [8080:80]", Healthcheck("tcp")),
        ("ports: [8080:80]\nx-hecd: {check: {path: /up}}", Healthcheck("http", path="/up")),
        ("x-hecd: {check: {path: /up}}", Healthcheck("none")),
        ("ports: [8080:80]\nhealthcheck: {disable: true}", Healthcheck("none")),
        ("ports: [8080:80]\nhealthcheck: {test: [NONE]}", Healthcheck("none")),
        ("ports: [8080:80]\nhealthcheck: {interval: 5s}", Healthcheck("tcp", interval_s=5)),
        (
            "ports: [8080:80]\nhealthcheck: {test: [CMD, /up, now]}\nx-hecd: {check: {path: /up}}",
            Healthcheck("exec", test=("/up", "now"), interval_s=2, timeout_s=5, start_interval_s=0.25),
        ),
        (
            "healthcheck: {test: [CMD-SHELL, 'a || b']}",
            Healthcheck("exec", test=("/bin/sh", "-c", "a || b"), interval_s=2, timeout_s=5, start_interval_s=0.25),
        ),
    ],
)
def test_how_health_is_found(one: One, keys: str, expected: Healthcheck) -> None:
    assert one(keys).settings.healthcheck == expected


@pytest.mark.parametrize(
    ("keys", "entrypoint", "command"),
    [
        ("", None, None), ("command:", None, None), ("command: []", None, ()), ("command: ''", None, ()),
        ("entrypoint: ''", (), None),
        ("command: a 'b c' $$d", None, ("a", "b c", "$d")), ("command: [a, '']", None, ("a", "")),
    ],
)  # fmt: skip
def test_commands(one: One, keys: str, entrypoint: object, command: object) -> None:
    settings = one(keys).settings
    assert (settings.entrypoint, settings.command) == (entrypoint, command)


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ("8080:80", Port(8080, 80)), ("'8080:80/tcp'", Port(8080, 80)), ("0.0.0.0:8080:80", Port(8080, 80)),
        ("'[::]:1:65535'", Port(1, 65535)),
        ("':8080:80'", Port(8080, 80)), ("{target: 80, published: 8080}", Port(8080, 80)),
        ("{target: 80, published: 8080, host_ip: ''}", Port(8080, 80)),
    ],
)  # fmt: skip
def test_ports(one: One, port: str, expected: Port) -> None:
    assert one(f"ports: [{port}]").traffic.ports == (expected,)


def test_a_mode_for_all_ports(one: One) -> None:
    ports = one("ports: [1:1, {target: 2, published: 2, app_protocol: http}]\nx-hecd: {mode: tcp}").traffic.ports
    assert [p.mode for p in ports] == ["tcp", "http"]


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        # what kind of key it is
        ("imagee: x", "imagee: is not known; misspelt? Did you mean image?"),
        ("Ports: []", "Ports: is not known; misspelt? Did you mean ports?"),
        ("stop-signal: x", "stop-signal: is not known; misspelt? Did you mean stop_signal?"),
        ("depends_onn: x", "depends_onn: is not known; misspelt? Did you mean depends_on?"),
        (
            "privileged: true",
            "hecd does not serve: name what is needed with cap_add",
        ),
        # wishes
        ("cap_add: [net admin]", "cap_add[0]: must be a capability, such as NET_ADMIN"),
        ("devices: [/etc/passwd]", "devices[0]: must be PATH[:TARGET[:rwm]], with paths below /dev"),
        ("devices: ['/dev/a:/dev/../b']", "devices[0]: must be PATH[:TARGET[:rwm]], with paths below /dev"),
        ("devices: ['/dev/a:/dev/b:x']", "devices[0]: the access 'x' is not known; r, w and m are"),
        ("devices: [{target: /dev/a}]", "devices[0].source: is required"),
        ("ulimits: {files: 1}", "ulimits.files: 'files' is no limit; known: as,"),
        ("ulimits: {nofile: {soft: 2, hard: 1}}", "ulimits.nofile: soft is above hard"),
        ("ulimits: {nofile: {soft: 2}}", "ulimits.nofile.hard: is required"),
        ("ulimits: {nofile: many}", "ulimits.nofile: must be a whole number, -1 for no limit"),
        ("sysctls: {vm.swappiness: 1}", "'vm.swappiness' is not a container's own"),
        ("sysctls: [net.core.somaxconn]", "sysctls[0]: needs a value"),
        ("extra_hosts: ['a b:1.1.1.1']", "extra_hosts[0]: 'a b' is no host name"),
        ("extra_hosts: {db: there}", "extra_hosts.db: 'there' is no address: write one, or host-gateway"),
        ("dns: there", "dns: must be the address of a name server"),
        ("security_opt: [apparmor:x]", "security_opt[0]: no-new-privileges:true and :false, seccomp:FILE and"),
        ("userns_mode: private", "userns_mode: must be host, or left out; is 'private'"),
        ("security_opt: ['seccomp:']", "security_opt[0]: no-new-privileges:true"),
        ("secrets: [nothing]", "secrets[0]: there is no 'nothing' among the secrets of this file"),
        ("configs: [{target: /x}]", "configs[0].source: is required"),
        ("logging: {driver: syslog}", "logging.driver: must be left out: there is one form; is 'syslog'"),
        ("logging: {options: {max-size: 1k}}", "logging.options.max-size: must be 4k or more"),
        (
            "logging: {options: {mode: x}}",
            "logging.options.mode: is not a key of Compose here; known: max-size,",
        ),
        ("mem_limit: 1g", "does not serve: write deploy.resources.limits.memory"),
        ("zebra: 1", "zebra: is not a key of Compose here; known: image,"),
        ("deploy: {endpoint_mode: vip}", "deploy.endpoint_mode: is a key of Compose that hecd does not serve"),
        ("deploy: {rollback_config: {}}", "does not serve: a rollback follows update_config"),
        ("volumes: [{type: bind, source: /a, target: /a, bind: {}}]", "volumes[0].bind: is a key of Compose"),
        ("x-hecd: {hostname: a}", "x-hecd.hostname: is not known; misspelt? Did you mean hostnames?"),
        ("x-hecd: {zebra: a}", "x-hecd.zebra: is not a key of x-hecd here; known: hostnames,"),
        ("x-hecd: {x-y: a}", "x-hecd.x-y: is not a key of x-hecd"),
        # shapes
        ("deploy: 4", "deploy: must be a mapping; is 4"),
        ("deploy: {replicas: -1}", "deploy.replicas: must be a whole number, 0 to 999,999,999; is -1"),
        ("deploy: {replicas: 999999999999}", "whole number, 0 to 999,999,999; is 999999999999"),
        ("deploy: {replicas: 1.5}", "deploy.replicas: must be a whole number, 0 to 999,999,999; is 1.5"),
        ("deploy: {replicas: true}", "deploy.replicas: must be a whole number, 0 to 999,999,999; is True"),
        ("deploy: {replicas: 10001}", "deploy.replicas: must be from 0 to 10000; is 10001"),
        ("deploy: {mode: job}", "deploy.mode: must be replicated or global; is 'job'"),
        (
            "deploy: {mode: global, replicas: 2}",
            "deploy.replicas: a service of mode global has one",
        ),
        (
            "deploy: {placement: {constraints: [disk==ssd]}}",
            "deploy.placement.constraints[0]: must be like",
        ),
        ("deploy: {placement: {constraints: [node.role==manager]}}", "deploy.placement.constraints[0]: must be like"),
        ("deploy: {placement: {preferences: [{spread: zone}]}}", "spread: must be like node.labels.zone"),
        ("deploy: {update_config: {max_failure_ratio: 2}}", "max_failure_ratio: must be from 0 to 1; is 2"),
        ("deploy: {update_config: {max_failure_ratio: .nan}}", "max_failure_ratio: must be from 0 to 1; is nan"),
        ("deploy: {resources: {limits: {cpus: .inf}}}", "limits.cpus: must be a number, 0 to 999,999,999; is inf"),
        ("deploy: {resources: {limits: {memory: 1x}}}", "limits.memory: must be a size, such as 64m or 1g; is '1x'"),
        ("restart: no", "restart: must be always or unless-stopped"),
        ("read_only: maybe", "read_only: must be true or false; is 'maybe'"),
        ("command: [1]", "command[0]: must be a text (quote it); is 1"),
        ('command: "a \'b"', "command: can't be split into words: no closing quotation"),
        ("stop_grace_period: 10", "stop_grace_period: must be a time with units, such as 1m30s or 500ms; is 10"),
        ("stop_grace_period: 9000000h", "stop_grace_period: must not be longer than a year"),
        ("stop_signal: SIGNOTHING", "stop_signal: must be the name of a signal"),
        ("working_dir: here", "working_dir: must be an absolute path"),
        ('working_dir: "/a\\nb"', "working_dir: must be an absolute path"),
        ("user: a b", "user: must be USER or USER:GROUP"),
        ("labels: ['']", "labels[0]: '' can't be the name of a label"),
        # ports
        ("ports: [80]", "ports[0]: must be PUBLISHED:TARGET, as 80:80: the load balancer needs a fixed port"),
        ("ports: ['8000-8010:80']", "ports[0]: ranges of ports are not served: name each port"),
        ("ports: ['80:80/udp']", "ports[0]: the load balancer serves tcp only"),
        ("ports: ['127.0.0.1:80:80']", "the address '127.0.0.1' is not served"),
        ("ports: ['0:80']", "ports[0]: a port is a number from 1 to 65535; is '0'"),
        ("ports: ['80:65536']", "ports[0]: a port is a number from 1 to 65535; is '65536'"),
        ("ports: ['\u0661:80']", "ports[0]: a port is a number from 1 to 65535"),
        (
            "ports: ['8404:80']",
            "ports[0]: port 8404 is taken on every load balancer, by its statistics",
        ),
        ("ports: ['80:80', '80:81']", "ports[1]: port 80 is published twice"),
        ("ports: [{target: 80}]", "ports[0].published: is required"),
        ("ports: [{target: 80, published: 8080-8090}]", "ports[0].published: ranges of ports are not served"),
        ("ports: [{target: 80, published: 80, protocol: udp}]", "ports[0].protocol: must be tcp"),
        ("ports: [{target: 80, published: 80, mode: host}]", "ports[0].mode: must be ingress"),
        # mounts
        ("volumes: [data:/data]", "'data' is not among the volumes of this file"),
        ("volumes: [{type: volume, source: a, target: /a}]", "volumes[0].source: 'a' is not among the volumes"),
        ("volumes: [data]", "volumes[0]: must be SOURCE:TARGET[:ro], or a TARGET that begins with /"),
        ("volumes: [/]", "volumes[0]: the target must be an absolute path below /"),
        ("volumes: ['/a:/b:z']", "volumes[0]: the option 'z' is not served; ro and rw are"),
        ("volumes: ['/a:/']", "volumes[0]: the target must be an absolute path below /"),
        ("volumes: ['/a:/b/../c']", "volumes[0]: the target must be an absolute path below /"),
        ("volumes: ['/a:/b', '/c:/b/']", "volumes[1]: something is mounted at /b already"),
        ("volumes: [{type: nfs, source: a, target: /a}]", "volumes[0].type: must be bind, tmpfs or volume; is 'nfs'"),
        ("volumes: [{type: bind, target: /a}]", "volumes[0]: a mount of type bind needs a source"),
        ("volumes: [{type: tmpfs, source: /b, target: /a}]", "volumes[0].source: a tmpfs has no source"),
        ("tmpfs: '/a:mode=1777'", "tmpfs: the option 'mode' is not served; size is"),
        # health
        ("healthcheck: {test: [CMD]}", "healthcheck.test: must be a text, or begin with CMD"),
        ("healthcheck: {test: ['']}", "healthcheck.test: must be a text, or begin with CMD"),
        ("healthcheck: {test: ' '}", "healthcheck.test: is an empty command"),
        ("healthcheck: {retries: 0}", "healthcheck.retries: must be from 1 to 1000; is 0"),
        ("healthcheck: {interval: 1ms}", "healthcheck.interval: must be 0.05 s or longer; is '1ms'"),
        # x-hecd
        ("x-hecd: {check: {path: 'health'}}", "x-hecd.check.path: must be a path that begins with /"),
        ('x-hecd: {check: {path: "/a\\n  stats enable"}}', "x-hecd.check.path: must be a path that begins with /"),
        ("x-hecd: {balance: fastest}", "x-hecd.balance: must be roundrobin, leastconn,"),
        ("ports: [1:1]\nx-hecd: {hostnames: [a_b]}", "x-hecd.hostnames[0]: must be a host name"),
        ("ports: [1:1]\nx-hecd: {hostnames: 'a }\\n'}", "x-hecd.hostnames: must be a host name"),
        ("ports: [1:1]\nx-hecd: {mode: tcp, hostnames: a.b}", "x-hecd.hostnames: needs a port of mode http"),
        ("ports: [1:1]\nx-hecd: {mode: tcp, balance: uri-hash}", "x-hecd.balance: uri-hash needs mode http"),
        (canary("{weight: 0, for: 1s}"), "x-hecd.canary[0].weight: must be from 1 to 99; is 0"),
        (canary("{weight: 100, for: 1s}"), "x-hecd.canary[0].weight: must be from 1 to 99; is 100"),
        (canary("{weight: 1.5, for: 1s}"), "x-hecd.canary[0].weight: must be a whole number, 0 to 999,999,999; is 1.5"),
        (
            canary("{weight: 5, for: 1s}, {weight: 5, for: 1s}"),
            "[1].weight: must be more than the step before, which has 5",
        ),
        (canary("{weight: 5, for: 10}"), "x-hecd.canary[0].for: must be a time with units"),
        (canary("{weight: 5, for: 10ms}"), "x-hecd.canary[0].for: must be 1 s or longer; is '10ms'"),
        (canary("{weight: 5}"), "x-hecd.canary[0].for: is required"),
        (canary("{wait: 5s, weight: 1, for: 1s}"), "x-hecd.canary[0].wait: is not a key of x-hecd here"),
        ("ports: [1:1]\nx-hecd: {canary: 5}", "x-hecd.canary: must be a list of steps, such as {weight: 1, for: 60s}"),
        ("x-hecd: {canary: [{weight: 1, for: 1s}]}", "x-hecd.canary: needs ports"),
        (canary("{weight: 1, for: 1s}", ", judge: [p99]"), "x-hecd.judge: does not go with canary, which is judged by"),
        ("deploy: {resources: {limits: {cpus: '0.001'}}}", "deploy.resources.limits.cpus: must be 0.01 or more"),
        ("deploy: {resources: {limits: {memory: 1k}}}", "deploy.resources.limits.memory: must be 4M or more"),
        ("x-hecd: {judge: true}", "x-hecd.judge: needs ports: it is judged by what the load balancers answer"),
        ("ports: [1:1]\nx-hecd: {judge: [latency]}", "x-hecd.judge[0]: must be failures, p99 or queue; is 'latency'"),
        ("ports: [1:1]\nx-hecd: {judge: p99}", "x-hecd.judge: must be true, false, or a list of failures, p99, queue"),
        (
            "ports: [1:1]\nx-hecd: {judge: true}\ndeploy: {update_config: {failure_action: continue}}",
            "x-hecd.judge: does not go with failure_action: continue, which turns nothing back",
        ),
        (canary("{weight: 1, for: 1s}", ", balance: leastconn"), "x-hecd.balance: does not go with canary"),
        (
            canary("{weight: 1, for: 1s}") + "\ndeploy: {update_config: {order: stop-first}}",
            "deploy.update_config.order: does not go with x-hecd.canary: both releases serve side by side",
        ),
        (
            canary("{weight: 1, for: 1s}") + "\ndeploy: {update_config: {failure_action: continue}}",
            "deploy.update_config.failure_action: does not go with x-hecd.canary",
        ),
    ],
)
def test_what_is_wrong_is_said(faults: Faults, keys: str, fault: str) -> None:
    (found,) = faults(keys)
    assert fault in found and found.startswith("line ") and "\n" not in found


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "must be a mapping with services in it; is empty"),
        ("[]", "must be a mapping with services in it"),
        ("services: {}", "line 1: services: must be a mapping of at least one service"),
        ("name: x", "services: is required"),
        ("services:\n  web: {}", "line 2: services.web.image: is required"),
        ("services:\n  web:", "line 2: services.web: must be a mapping with an image in it; is empty"),
        ("services: {Web: {image: i}}", "services.Web: a service's name must be a DNS label"),
        ('services: {"we\\nb": {image: i}}', r"services.'we\nb': a service's name must be a DNS label"),
        (f"services: {{{'a' * 64}: {{image: i}}}}", "must be a DNS label"),
        ("services: {web: {image: 'a b'}}", "services.web.image: must be an image"),
        ("services: {web: {image: ''}}", "services.web.image: must be an image"),
        ('services: {web: {image: "a\\n"}}', "services.web.image: must be an image"),
        ("name: Shop\nservices: {web: {image: i}}", "name: must be lower-case letters"),
        ('name: "shop\\n"\nservices: {web: {image: i}}', "name: must be lower-case letters"),
        ("networks: {}\nservices: {web: {image: i}}", "networks: is a key of Compose that hecd does not serve"),
        ("service: {}\nservices: {web: {image: i}}", "service: is not known; misspelt? Did you mean services?"),
        ("x-hecd: {}\nservices: {web: {image: i}}", "x-hecd: belongs inside a service"),
    ],
)
def test_what_is_wrong_with_a_file(load: Callable[..., Project], text: str, fault: str) -> None:
    with pytest.raises(SpecError) as err:
        load(text)
    (found,) = err.value.details
    assert fault in found and "\n" not in found


def test_all_faults_come_at_once_in_the_order_of_their_lines(load: Callable[..., Project]) -> None:
    text = (
        "services:\n  a:\n    ports: ['x']\n    deploy: {replicas: -1}\n  B:\n    image: i\n    imagee: i\n"
        "    deploy:\n      replicas: -2\n      replicas: 3\n"
    )
    with pytest.raises(SpecError) as err:
        load(text)
    assert [(f.line, ".".join(map(str, f.path))) for f in err.value.faults] == [
        (2, "services.a.image"), (3, "services.a.ports.0"), (4, "services.a.deploy.replicas"), (5, "services.B"),
        (7, "services.B.imagee"), (10, "services.B.deploy.replicas"),
    ]  # fmt: skip
    assert err.value.brief == "the compose file: 6 faults" and err.value.hint and err.value.exit_code != 0


def test_a_misspelt_extension_is_warned_of(load: Callable[..., Project]) -> None:
    assert "x-hecd is what hecd reads" in load("services: {web: {image: i, x-hedc: {}}}").warnings[0]


def test_a_file_is_read_and_named_and_one_that_can_not_be_is_said(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    with pytest.raises(SpecError, match=r"compose\.yaml: 1 fault"):
        load_project(file, {}, tmp_path)
    file.write_bytes(b"services: {web: {image: \xff}}")
    with pytest.raises(SpecError) as err:
        load_project(file, {}, tmp_path)
    assert "not UTF-8" in err.value.details[0]
    file.write_bytes(b"\xef\xbb\xbfservices: {web: {image: i}}")
    assert load_project(file, {}, tmp_path).services[0].settings.image == "i"
