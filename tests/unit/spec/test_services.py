"""From keys to what the registry keeps, and the fault of each that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from registrator.model.names import ServiceName
from registrator.model.release import Healthcheck, Limits, Mount, Settings
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
        ("privileged: true", "privileged: is a key of Compose that hecd does not serve"),
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
        ("deploy: {replicas: -1}", "deploy.replicas: must be a whole number, 0 or more; is -1"),
        ("deploy: {replicas: 1.5}", "deploy.replicas: must be a whole number, 0 or more; is 1.5"),
        ("deploy: {replicas: true}", "deploy.replicas: must be a whole number, 0 or more; is True"),
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
        ("deploy: {resources: {limits: {cpus: .inf}}}", "limits.cpus: must be a number, 0 or more; is inf"),
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
        ("ports: ['80:80', '80:81']", "ports[1]: port 80 is published twice"),
        ("ports: [{target: 80}]", "ports[0].published: is required"),
        ("ports: [{target: 80, published: 8080-8090}]", "ports[0].published: ranges of ports are not served"),
        ("ports: [{target: 80, published: 80, protocol: udp}]", "ports[0].protocol: must be tcp"),
        ("ports: [{target: 80, published: 80, mode: host}]", "ports[0].mode: must be ingress"),
        # mounts
        ("volumes: [data:/data]", "volumes that have only a name are not served"),
        ("volumes: [/data]", "volumes without a directory of the node are not served"),
        ("volumes: ['/a:/b:z']", "volumes[0]: the option 'z' is not served; ro and rw are"),
        ("volumes: ['/a:/']", "volumes[0]: the target must be an absolute path below /"),
        ("volumes: ['/a:/b/../c']", "volumes[0]: the target must be an absolute path below /"),
        ("volumes: ['/a:/b', '/c:/b/']", "volumes[1]: something is mounted at /b already"),
        ("volumes: [{type: volume, source: a, target: /a}]", "volumes[0].type: must be bind or tmpfs; is 'volume'"),
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
