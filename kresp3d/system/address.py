"""Where a process of another host listens."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from kresp3d.system.errors import UsageError


@dataclass(frozen=True)
class Address:
    """A host, by name or number, and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, what: str) -> Address:
        """Read `HOST:PORT`.

        Args:
            text: Such as `10.0.0.1:8000` or `[::1]:8000`.
            what: What it is of, for the message, such as `--chief`.

        Raises:
            UsageError: If it is something else.
        """
        host, colon, port = text.rpartition(":")
        if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
            raise UsageError(f"{what} {text}: expected HOST:PORT, such as 10.0.0.1:8000")
        # Numbers of IPv6 are in brackets there, and nowhere else.
        return cls(host.removeprefix("[").removesuffix("]"), int(port))

    def unreachable(self, seconds: float = 3.0) -> str | None:
        """Why nobody answers there; `None` if somebody does."""
        try:
            socket.create_connection((self.host, self.port), timeout=seconds).close()
        except OSError as error:
            return error.strerror or str(error)
        return None

    @property
    def family(self) -> socket.AddressFamily:
        """By which family of addresses a process listens there."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def written_host(self) -> str:
        """The host as it stands before a colon and a port."""
        return f"[{self.host}]" if ":" in self.host else self.host

    def __str__(self) -> str:
        return f"{self.written_host}:{self.port}"
