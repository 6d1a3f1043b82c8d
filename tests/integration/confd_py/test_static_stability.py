"""etcd away, wiped or restored, and agents that died: traffic goes on."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.integration.confd_py.conftest import Ring
from tests.integration.confd_py.parts import SOON_S, load, within


def grace(ring: Ring, seconds: float) -> None:
    ring.confd.environ["HECD_GUARD_GRACE"] = f"{seconds}s"


def deploy(ring: Ring, *, ttl_s: int = 0) -> str:
    lease = ring.lease(ttl_s) if ttl_s else ""
    ring.service()
    ring.instance(1, lease=lease)
    ring.until_applied(ring.instance(2, lease=lease))
    ring.until_serving(1, 2)
    return lease


def test_a_deleted_record_goes_at_once_even_the_last(ring: Ring) -> None:
    deploy(ring, ttl_s=60)
    ring.withdraw(1)
    ring.until_applied(ring.withdraw(2))
    within(SOON_S, "nothing serves", lambda: ring.haproxy.serving() == set())


def test_an_expired_lease_keeps_its_servers_for_the_grace(idle_ring: Ring) -> None:
    grace(idle_ring, 9)
    idle_ring.start()
    lease = deploy(idle_ring, ttl_s=60)
    with load(idle_ring.port) as running:
        begun = time.monotonic()  # of the grace, at the earliest
        idle_ring.etcd.etcdctl("lease", "revoke", lease)
        within(6, "kept", lambda: isinstance(kept := idle_ring.confd.state()["ghosts"], list) and len(kept) == 2)
        assert "leases expired" in str(idle_ring.confd.state()["doubt"])
        while time.monotonic() - begun < 3:
            serving = idle_ring.haproxy.serving()
            assert serving == {"web.1", "web.2"} or time.monotonic() - begun > 9
            time.sleep(0.1)
        idle_ring.instance(2)  # its agent is back
    assert running.failures == []
    idle_ring.until_serving(2)
    within(SOON_S, "no doubt is left", lambda: idle_ring.confd.state()["doubt"] is None)


def test_etcd_away_stops_nothing_and_a_dead_server_goes(ring: Ring) -> None:
    deploy(ring)
    with load(ring.port) as running:
        ring.etcd.kill()
        time.sleep(0.5)
        assert running.failures == []
        ring.web.close("web.2")
        ring.until_serving(1)
        time.sleep(0.3)
        before = len(running.failures)
        time.sleep(0.7)
        assert len(running.failures) == before
        ring.etcd.start()
        ring.instance(3)
        ring.until_serving(1, 3)
    # Only what was inside the dead one may fail.
    assert len(running.failures) <= 8


def test_etcd_wiped_keeps_the_last_good_configuration(idle_ring: Ring) -> None:
    grace(idle_ring, 1)
    idle_ring.start()
    deploy(idle_ring, ttl_s=60)
    with load(idle_ring.port) as running:
        idle_ring.etcd.kill()
        idle_ring.etcd.wipe()
        idle_ring.etcd.start()
        within(SOON_S, "doubt", lambda: "lost its history" in str(idle_ring.confd.state().get("doubt")))
        time.sleep(2)
        assert idle_ring.haproxy.serving() == {"web.1", "web.2"}
        # One is announced again and the other is not: after the grace it goes.
        lease = idle_ring.lease(60)
        idle_ring.instance(1, lease=lease)
        idle_ring.until_serving(1)
        time.sleep(1.5)
        # The service was never deployed again; its traffic goes on all the same.
        assert idle_ring.haproxy.serving() == {"web.1"}
        idle_ring.service()
        idle_ring.until_applied(idle_ring.instance(3, lease=lease))
        idle_ring.until_serving(1, 3)
        within(SOON_S, "no doubt is left", lambda: idle_ring.confd.state()["doubt"] is None)
    assert running.failures == []


def test_confd_restarted_before_a_wiped_etcd_remembers(ring: Ring) -> None:
    deploy(ring, ttl_s=60)
    with load(ring.port) as running:
        ring.etcd.kill()
        ring.etcd.wipe()
        assert ring.confd.stop() == 0
        ring.etcd.start()
        ring.confd.start()
        within(SOON_S, "doubt", lambda: "lost its history" in str(ring.confd.state().get("doubt")))
        time.sleep(0.5)
        assert ring.haproxy.serving() == {"web.1", "web.2"}
    assert running.failures == []
    # An operator may say: believe etcd as it is.
    ring.confd.signal(signal.SIGHUP)
    within(SOON_S, "nothing serves", lambda: ring.haproxy.serving() == set())


def test_a_restored_backup_brings_back_no_old_records(idle_ring: Ring) -> None:
    """Revision goes back under the same address: what was in effect stays until it is announced again."""
    grace(idle_ring, 60)
    idle_ring.start()
    deploy(idle_ring, ttl_s=60)
    memory = Path(f"{idle_ring.confd.state()['dest']}.applied.view")
    within(SOON_S, "what is in view is remembered", lambda: "web.2" in memory.read_text())
    idle_ring.etcd.kill()
    idle_ring.etcd.wipe()
    idle_ring.confd.kill()  # or it might see the record come, and rightly take it for an announcement
    idle_ring.etcd.start()
    old = idle_ring.addresses["web.1"]
    idle_ring.instance(1, state="starting")  # what the backup said of it
    idle_ring.confd.start()
    time.sleep(1)
    assert idle_ring.haproxy.serving() == {"web.1", "web.2"}
    revision = idle_ring.instance(1, address=old)
    idle_ring.until_applied(revision)
    idle_ring.until_serving(1, 2)


def test_etcd_down_at_start_is_waited_for(idle_ring: Ring) -> None:
    idle_ring.confd.start()
    time.sleep(1)
    idle_ring.etcd.start()
    within(SOON_S, "the first file", idle_ring.haproxy.config.exists)
    idle_ring.haproxy.start()
    deploy(idle_ring)
