"""Refuses every socket to another host, from the moment Python starts.

``tests/conftest.py`` loads this file into the test process, and puts its
folder on PYTHONPATH, so that child processes (joblib's workers, second
interpreters) load it by themselves. It is an audit hook: nothing that Python
code does gets past it, whoever imported ``socket`` first, httpx and anyio
included; and it cannot be taken out again.

The refusal is an OSError, as on a machine without a network, so that a library
takes the way that it takes there. Each one is also written to ``refused``, so
that a test can tell that it was tried at all.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from typing import Any

ADDRESS_EVENTS = {"socket.connect", "socket.sendto", "socket.sendmsg"}
NAME_EVENTS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}
LOCAL_NAMES = {"", "localhost", "localhost.localdomain", "ip6-localhost"}

refused: list[str] = []


class BlockedNetworkError(OSError):
    """Something tried to reach another host during the tests."""


def is_local(host: Any) -> bool:
    """Say whether `host` is this machine's loopback; a name is never looked up."""
    if host is None:
        return True
    name = (host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host)).lower()
    if name in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


def hook(event: str, args: tuple[Any, ...]) -> None:
    """Raise at the events that would leave this machine."""
    if event in ADDRESS_EVENTS:
        sock, address = args
        if address is None or sock.family == socket.AF_UNIX:  # None: a connected socket, judged when it connected
            return
        is_inet = sock.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple)
        if is_inet and is_local(address[0]):
            return
        what = address
    elif event in NAME_EVENTS:
        what = args[0][0] if event == "socket.getnameinfo" else args[0]
        if is_local(what):
            return
    else:
        return
    refused.append(f"{event} {what!r}")
    msg = f"The tests reach no other host: {event} to {what!r} is blocked (tests/no_network)."
    raise BlockedNetworkError(msg)


sys.addaudithook(hook)
