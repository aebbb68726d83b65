"""What the kernel's tables say, and what follows from it."""

from __future__ import annotations

import socket
from pathlib import Path

from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import ServicePort
from rune.orchestrator.reconcilers.traffic import View
from rune.orchestrator.traffic.listening import Listener, listeners

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
ONE, TWO = "127.64.0.1", "127.64.0.2"


async def test_the_tables_of_this_machine_show_a_listener() -> None:
    with socket.create_server((ONE, 0)) as server, socket.create_server(("", 0)) as everywhere:
        seen = await listeners()
        mine = Listener("tcp", ONE, server.getsockname()[1])
        assert mine in seen
        assert Listener("tcp", None, everywhere.getsockname()[1]) in seen
    assert mine not in await listeners()


async def test_an_ipv6_socket_for_every_address_counts_as_everywhere() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        assert Listener("tcp", None, server.getsockname()[1]) in await listeners()


async def test_connections_are_not_listeners(tmp_path: Path) -> None:
    rows = "   0: 0100007F:1F90 0200007F:B660 01 00000000:00000000 00:00000000 00000000     0        0 1\n"
    (tmp_path / "tcp").write_text(HEAD + rows, encoding="ascii")
    assert await listeners(tmp_path) == frozenset()


def view(*listening: Listener, runtime: str = "process") -> View:
    copies = [Instance(id="a", ip=ONE), Instance(id="b", ip=TWO)]
    service = Service(name="web", runtime=runtime, ports=[ServicePort(port=80, target_port=8080)])
    return View(service=service, copies=copies, seen=frozenset(listening))


def test_copies_that_listen_at_their_own_addresses_share_nothing() -> None:
    assert view(Listener("tcp", ONE, 8080), Listener("tcp", TWO, 8080)).shares_ports() is False


def test_a_copy_that_listens_everywhere_shares_its_ports() -> None:
    assert view(Listener("tcp", None, 8080)).shares_ports() is True


def test_what_cannot_be_told_yet_is_not_told() -> None:
    assert view(Listener("tcp", ONE, 8080)).shares_ports() is None


def test_containers_never_share_ports() -> None:
    assert view(Listener("tcp", None, 8080), runtime="docker").shares_ports() is False
