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
