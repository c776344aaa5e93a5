from __future__ import annotations

import re
import socket

import pytest

from kresp3d.system.address import Address
from kresp3d.system.errors import UsageError


@pytest.mark.parametrize("text", ["", "host", "host:", ":80", "host:0", "host:65536", "host:x", "host:8¹"])
def test_an_address_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match=f"--chief {re.escape(text)}: expected HOST:PORT"):
        Address.parse(text, "--chief")


def test_an_address_is_read_and_shown_as_it_is_written():
    assert Address.parse("10.0.0.1:8000", "x") == Address("10.0.0.1", 8000)
    assert str(Address.parse("node-1.local:65535", "x")) == "node-1.local:65535"


def test_who_answers_is_reachable(free_port):
    assert "refused" in str(Address("127.0.0.1", free_port()).unreachable())
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert Address("127.0.0.1", server.getsockname()[1]).unreachable() is None


def test_a_number_of_ipv6_is_in_brackets_where_a_port_follows(free_port):
    found = Address.parse("[::1]:8000", "--chief")
    assert found == Address("::1", 8000) and str(found) == "[::1]:8000"
    assert found.family == socket.AF_INET6 and Address("10.0.0.1", 1).family == socket.AF_INET
    with socket.create_server(("::1", 0), family=found.family) as server:
        assert Address("::1", server.getsockname()[1]).unreachable() is None
