"""The trap of sockets that change namespace with the thread that uses them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from pyroute2 import IPRoute

from testbed.fabric.namespaces import network_of
from testbed.fabric.netlink import NetlinkThread

pytestmark = pytest.mark.root


@pytest.fixture
def other_pid() -> Iterator[int]:
    """A process in a network namespace of its own, whose only interface is `lo`."""
    process = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo in; exec sleep 60"],
                               stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"in\n"
    yield process.pid
    process.kill()
    process.wait()
    process.stdout.close()


def names(ipr: IPRoute) -> list[str]:
    return [link.get_attr("IFLA_IFNAME") for link in ipr.get_links()]


def test_a_plain_iproute_used_from_another_thread_is_in_another_namespace(other_pid: int) -> None:
    """The trap itself: if pyroute2 ever mends it, `NetlinkThread` may go."""
    with network_of(other_pid):
        ipr = IPRoute()
    here = names(ipr)
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(names, ipr).result()
    ipr.close()
    assert here == ["lo"]
    assert there != here, "this machine has `lo` only, too: the test cannot tell"


def test_the_netlink_thread_keeps_every_socket_where_it_was_made(other_pid: int) -> None:
    netlink = NetlinkThread()
    netlink.open("")
    netlink.open("other", other_pid)

    def ask(node: str) -> list[str]:
        return netlink.run(lambda: names(netlink.socket(node)))

    mine = ask("")
    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(ask, ["other"] * 8)] == [["lo"]] * 8
        assert [*pool.map(ask, ["unknown"] * 8)] == [mine] * 8
    netlink.close()


def test_errors_come_out_where_the_work_was_asked_for() -> None:
    netlink = NetlinkThread()
    with pytest.raises(ZeroDivisionError):
        netlink.run(lambda: 1 // 0)
    assert netlink.run(lambda: netlink.run(lambda: "nested work does not wait for itself"))
    netlink.run(lambda: None)
