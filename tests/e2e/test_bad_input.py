"""What is wrong is said, with the remedy; the exit code is not 0, and nothing has changed."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

from tests.e2e.conftest import Machine

GOOD = "services: {{web: {{image: 'hecd/sample:1', ports: ['{port}:8080'], deploy: {{replicas: 1}}}}}}"


def test_bad_files_are_refused_and_nothing_changes(machine: Machine) -> None:
    assert machine.deploy_text(GOOD.format(port=machine.port)).code == 0
    before = machine.etcdctl("get", "--prefix", "/hecd/services")
    cases = [
        ("services: [", 1, "line"),
        ("services: {web: {imgae: x}}", 1, "image"),
        ("services: {web: {image: 'hecd/sample:1', privileged: true}}", 1, "privileged"),
        ("services: {web: {image: 'hecd/sample:1', deploy: {replicas: -1}}}", 1, "replicas"),
        ('services: {"web\\nbackend x": {image: "hecd/sample:1"}}', 1, "name"),
        ("services: {api: {image: '127.0.0.1:1/none:9'}}", 1, "none"),
        (f"services: {{api: {{image: 'hecd/sample:1', ports: ['{machine.port}:8080']}}}}", 1, "published by web"),
    ]
    for text, _, word in cases:
        done = machine.deploy_text(text)
        assert done.code != 0, text
        assert word in done.err, done.err
        assert "Traceback" not in done.err
    assert machine.etcdctl("get", "--prefix", "/hecd/services") == before


def test_a_port_that_somebody_else_has_is_reported_and_the_service_before_goes_on(machine: Machine) -> None:
    assert machine.deploy_text(GOOD.format(port=machine.port)).code == 0
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text = "services: {api: {image: 'hecd/sample:1', ports: ['%d:8080'], x-hecd: {progress_deadline: 5s}}}" % port
        done = machine.deploy_text(text)
        assert done.code != 0
        assert str(port) in done.err
        with machine.load() as report:
            pass
    assert report["failures"] == []


WRONG_WORDS = [
    (["scale", "web=-1"], 2, "SERVICE=REPLICAS"),
    (["scale", "nothing=1"], 4, "no service"),
    (["logs", "nothing"], 4, "nothing"),
    (["rollback", "nothing"], 4, "no service"),
    (["deploy", "-f", "/none.yaml"], 1, "/none.yaml"),
    (["frobnicate"], 2, "No such command"),
    (["up"], 1, "already runs"),
    (["image", "load", "/etc/hosts"], 1, "/etc/hosts"),
    (["--etcd", "127.0.0.1:1", "ps"], 3, "does not answer"),
]


def test_wrong_words_get_an_answer(machine: Machine) -> None:
    for words, code, said in WRONG_WORDS:
        done = machine.hecd(*words)
        assert (done.code, said in done.err) == (code, True), (words, done.code, done.err)
        assert "Traceback" not in done.err


def test_a_missing_program_is_named_with_its_package(machine: Machine, tmp_path: Path) -> None:
    for name in ("setpriv", "haproxy"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    machine.environment = {**machine.environment, "PATH": str(tmp_path), "HECD_ROOT": str(tmp_path / "root")}
    done = machine.hecd("up")
    machine.environment["HECD_ROOT"] = str(machine.root)
    machine.environment["PATH"] = os.environ["PATH"]
    assert done.code == 6
    assert "etcd is not installed" in done.err
    assert "apt-get install etcd-server" in done.err
