"""-tags as a template of the container, with the results that Go's text/template has."""

from __future__ import annotations

from typing import Any

import pytest

from registrator.announce import tagtemplate
from registrator.announce.container import read
from registrator.announce.conventions import Rules, offer
from registrator.announce.tagtemplate import TemplateFault
from registrator.cli.announce import read_options
from registrator.errors import HecdError

DOCUMENT: dict[str, Any] = {
    "Id": "e20f9c1a76565d62ae24a3bb877b17b862b6eab94f4e95a0e07ccf25087aaf4f",
    "Name": "/web",
    "Config": {
        "Hostname": "e20f9c1a7656",
        "Image": "web:1",
        "Env": ["ENVIRONMENT=test", "SERVICE_8105_NAME=foo", "HOME=/home/foobar", "SERVICE_9404_NAME=bar"],
        "Labels": {"com.amazonaws.ecs.task-arn": "arn:aws:ecs:region:x:task/368f4403", "tier": "Front"},
        "ExposedPorts": {"80/tcp": {}},
    },
    "State": {"Pid": 17, "Running": True},
    "NetworkSettings": {"IPAddress": "172.17.0.2", "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}},
}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("plain,a}}b", "plain,a}}b"),
        ("{{.Config.Hostname}},x", "e20f9c1a7656,x"),
        ("{{strSlice .ID 0 12}} {{ strSlice .ID 60 }} {{strSlice .Name 9}}", "e20f9c1a7656 af4f /web"),
        ('{{sIndex 0 .Config.Env}} {{sIndex -1 .Config.Env}} {{sIndex 9 .Config.Env}}',
         "ENVIRONMENT=test SERVICE_9404_NAME=bar SERVICE_9404_NAME=bar"),
        ('{{mIndex "tier" .Config.Labels | toUpper}}{{mIndex "no" .Config.Labels}}', "FRONT"),
        ('{{.Config.Labels.tier | toLower}} {{index .Config.Labels "tier"}}', "front Front"),
        ('{{replace -1 "=" "" "=foo="}} {{replace 1 "=" "" "=foo="}}', "foo foo="),
        ('{{join ";" .Config.Env}}', ";".join(DOCUMENT["Config"]["Env"])),
        ('{{split "," "a,b,c"}} {{split "," "a,b" | sIndex 1}}', "[a b c] b"),
        ('{{splitIndex -1 "/" (mIndex "com.amazonaws.ecs.task-arn" .Config.Labels)}}', "368f4403"),
        ('{{.Config.Env | matchFirstElement "^SERVICE_"}} {{matchAllElements "^SERVICE_" .Config.Env}}',
         "SERVICE_8105_NAME=foo [SERVICE_8105_NAME=foo SERVICE_9404_NAME=bar]"),
        ('{{range .Config.Env | matchAllElements "_NAME="}}{{splitIndex 1 "=" .}},{{end}}', "foo,bar,"),
        ('{{range $k, $v := .Config.Labels}}{{$k | len}}:{{$v}};{{end}}',
         "26:arn:aws:ecs:region:x:task/368f4403;4:Front;"),
        ("{{range $i, $e := .Config.Env}}{{if eq $i 1}}{{$e}}{{end}}{{end}}", "SERVICE_8105_NAME=foo"),
        ("{{range .Nothing}}x{{else}}none{{end}}", "none"),
        ('{{if and .State.Running (gt .State.Pid 3)}}up{{else}}down{{end}}', "up"),
        ('{{if .No}}a{{else if eq .Name "/web"}}b{{else}}c{{end}}', "b"),
        ('{{with .Config}}{{.Hostname}}{{$.Name}}{{end}}{{with .No}}x{{end}}', "e20f9c1a7656/web"),
        ('{{$x := "a"}}{{if true}}{{$x = "b"}}{{$y := "c"}}{{end}}{{$x}}', "b"),
        ('a {{- /* said nowhere */ -}} b {{- .Name -}} c', "ab/webc"),
        ('{{printf "%s-%d-%q" .Name .State.Pid `x`}} {{print 1 true "a" 1.5}}', '/web-17-"x" 1 truea1.5'),
        ('{{(index .NetworkSettings.Ports "80/tcp" 0).HostPort}} {{.State.Running}} {{.Node.Name}}', "8080 true "),
        ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostIP}}', "0.0.0.0"),
        ('{{"a}}b"}}', "a}}b"),
    ],
)  # fmt: skip
def test_filled_in_as_go_does(text: str, filled: str) -> None:
    assert tagtemplate.parse(text).filled(DOCUMENT) == filled


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{.Name", "without its }}"),
        ("{{if .Name}}x", "without its {{end}}"),
        ("{{end}}", "without a beginning"),
        ("{{nope .Name}}", "function 'nope' not defined"),
        ('{{httpGet "http://x"}}', "asks nobody but Docker"),
        ("{{.Name .ID}}", "only a function"),
        ("{{.Name | }}", "a value is missing"),
        ("{{toUpper (.Name}}", "unclosed"),
        ("{{%}}", "unexpected '%'"),
    ],
)
def test_what_cannot_be_read_is_refused_before_anything_is_announced(text: str, why: str) -> None:
    with pytest.raises(TemplateFault, match=why):
        tagtemplate.parse(text)
    with pytest.raises(HecdError, match="-tags: "):
        read_options(["-tags", text, "etcd://127.0.0.1:2379/services"], "registrator")


def test_services_have_the_tags_and_a_fault_costs_only_these() -> None:
    def tags(text: str) -> tuple[list[str], tuple[str, ...]]:
        found = offer(read(DOCUMENT), Rules(host="h", ip="10.0.0.5", tags=text))
        return [tag for service in found.services for tag in service.tags], found.warnings

    assert tags("x,{{.Config.Hostname}}") == (["e20f9c1a7656", "x"], ())
    kept, warnings = tags("x,{{toUpper .State.Pid}}")
    assert kept == [] and "-tags are left out: toUpper 17" in warnings[0]
