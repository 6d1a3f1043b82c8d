"""Where a service may run: deploy.placement, deploy.mode, deploy.resources.reservations."""

from __future__ import annotations

from registrator.model.placement import SPREAD, Placement, is_constraint
from registrator.spec.field import Field


def placement_of(deploy: Field) -> Placement:
    """What is wrong in it stands in its findings."""
    place, reserved = deploy["placement"], deploy["resources"]["reservations"]
    every_node = deploy["mode"].text() == "global"
    if every_node and deploy["replicas"].value is not None:
        deploy["replicas"].fault("a service of mode global has one instance on each node; leave replicas away")
    return Placement(
        constraints=tuple(_constraint(item) for item in place["constraints"].items()),
        spread=tuple(_label(item["spread"]) for item in place["preferences"].items()),
        max_per_node=place["max_replicas_per_node"].whole(),
        cpus=reserved["cpus"].number(most=4096.0),
        memory_bytes=reserved["memory"].size_bytes(),
        every_node=every_node,
    )


def _constraint(item: Field) -> str:
    text = " ".join(item.text().split())
    if not is_constraint(text):
        item.fault("must be like node.labels.disk==ssd, node.hostname!=h3 or node.role==edge")
    return text.replace(" ", "")


def _label(item: Field) -> str:
    found = SPREAD.fullmatch(item.text())
    if found is None:
        item.fault("must be like node.labels.zone")
        return ""
    return found[1]
