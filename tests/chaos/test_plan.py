"""Plans and the parts of the harness that need no servers."""

import asyncio
from collections import Counter

import pytest

from tests.chaos.faults import KINDS
from tests.chaos.plan import CLASHES, make_plan
from tests.chaos.producer_child import parse_acks
from tests.chaos.proxy import LOOPBACK, Proxy
from tests.e2e.conftest import free_port

LONG = 60


def test_the_same_seed_gives_the_same_plan() -> None:
    assert make_plan(7, LONG) == make_plan(7, LONG)
    assert make_plan(7, LONG) != make_plan(8, LONG)


def test_a_long_plan_has_every_kind_and_as_many_faults_as_asked_for() -> None:
    counts = Counter(fault.kind for group in make_plan(7, LONG) for fault in group)
    assert counts.keys() == KINDS.keys()
    assert counts.total() == LONG


def test_only_kinds_that_were_asked_for_come() -> None:
    kinds = {"kill-worker", "kill-broker"}
    assert {fault.kind for group in make_plan(1, LONG, kinds) for fault in group} == kinds


def test_faults_that_strike_together_have_different_targets() -> None:
    pairs = [group for seed in range(20) for group in make_plan(seed, LONG) if len(group) > 1]
    targets = [frozenset(KINDS[fault.kind].target for fault in pair) for pair in pairs]
    assert len(pairs) > LONG
    assert all(len(pair) == 2 for pair in targets)
    assert not set(targets) & set(CLASHES)


def test_an_acknowledgement_that_a_kill_has_cut_short_does_not_count() -> None:
    assert parse_acks("0 3 17\n1 4 -1\n2 3 1") == {0: (3, 17), 1: (4, -1)}


async def has_ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def test_a_proxy_passes_on_refuses_holds_back_and_is_good_again() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(100):
            writer.write(chunk)
        writer.close()

    server = await asyncio.start_server(echo, LOOPBACK, free_port())
    proxy = Proxy(free_port(), server.sockets[0].getsockname()[1])
    await proxy.start()
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, proxy.port)
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        proxy.silence()
        writer.write(b"two")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(3), 0.2)
        proxy.restore()
        assert await reader.readexactly(3) == b"two"
        proxy.refuse()
        assert await has_ended(reader)
        refused, _ = await asyncio.open_connection(LOOPBACK, proxy.port)
        assert await has_ended(refused)
    finally:
        await proxy.stop()
        server.close()
