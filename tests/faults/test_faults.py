"""Kill -9, takeovers and zombies in the middle of a feed, on real servers: afterwards every derived event is there once,
in order, byte for byte, and the tables say what an undisturbed run says."""

import signal
from itertools import cycle, islice

from tests.faults.arena import Arena
from tests.faults.undisturbed import assert_undisturbed

ANYWHERE = ""
"""Not at a chosen step of a transaction, but wherever the worker is."""

FETCHED = "fetched"
"""A sleeper with records in hand first learns that it is no member any more, then begins its round: it must not do so
in the name of a member that it has become since, or of none (mistake (a) of the engine's three)."""

NO_MEMBER = "Heartbeat failed"
"""Part of what aiokafka says when a heartbeat is refused."""


def steps(arena: Arena, *chosen: str) -> list[str]:
    """The step of each fault; `chosen` over and over."""
    return list(islice(cycle(chosen), arena.faults))


async def test_kill_9_of_the_worker(arena: Arena) -> None:
    arena.start_sink()
    worker = arena.start_worker()
    for number, step in enumerate(steps(arena, "commit", ANYWHERE, "committed", "flush", "offsets", "begin")):
        await arena.until_sent(arena.begin_fault(number))
        await arena.until_works(worker)
        if step:
            await arena.hold(worker, step)
        arena.kill(worker)
        worker = arena.start_worker()
        await arena.until_applied()
    await arena.finish()
    assert len(arena.strikes) == arena.faults
    await assert_undisturbed(arena)


async def test_kill_9_of_the_sink(arena: Arena) -> None:
    arena.start_worker()
    sink = arena.start_sink()
    client = arena.client()

    def rows() -> int:
        return int(client.query(f"SELECT count() FROM {arena.database}.metric_events").result_rows[0][0])

    for number in range(arena.faults):
        seen = rows()
        await arena.until_sent(arena.begin_fault(number))
        await arena.until(lambda seen=seen: rows() > seen, "the sink works")  # type: ignore[misc]
        arena.kill(sink)
        seen = rows()
        sink = arena.start_sink()
        await arena.until(lambda seen=seen: rows() > seen, "the sink works again")  # type: ignore[misc]
    await arena.finish()
    client.close()
    assert len(arena.strikes) == arena.faults
    await assert_undisturbed(arena)


async def test_a_second_worker_joins_and_then_the_first_is_killed(arena: Arena) -> None:
    arena.start_sink()
    first = arena.start_worker()
    for number, step in enumerate(steps(arena, "offsets", ANYWHERE, "commit", "committed", "flush", "begin")):
        strike = arena.begin_fault(number)
        await arena.until_works(first)
        second = arena.start_worker()
        await arena.until_works(second)
        await arena.until_sent(strike)
        if step:
            await arena.hold(first, step)
        arena.kill(first)
        await arena.until_applied()
        first = second
    await arena.finish()
    assert len(arena.strikes) == arena.faults
    await assert_undisturbed(arena)


async def test_a_worker_that_slept_longer_than_its_session_does_no_harm_and_works_again(arena: Arena) -> None:
    arena.start_sink()
    zombie, other = arena.start_worker(), arena.start_worker()
    for number, step in enumerate(steps(arena, "commit", FETCHED, "offsets", ANYWHERE, "flush", "committed")):
        strike = arena.begin_fault(number)
        await arena.until_works(zombie)
        await arena.until_works(other)
        await arena.until_sent(strike)
        if step:
            await arena.hold(zombie, step)
        done = zombie.metric("plaudit_records_total")
        arena.struck()
        zombie.signal(signal.SIGSTOP)
        await arena.until_applied()  # by the other, which has to wait for the session to end
        told = zombie.told().count(NO_MEMBER)
        zombie.signal(signal.SIGCONT)
        if step == FETCHED:
            await arena.until_told(zombie, NO_MEMBER, told)
        arena.release(zombie)
        await arena.until_works(zombie, than=done)
        await arena.until_applied()
        zombie, other = other, zombie
    await arena.finish()
    assert len(arena.strikes) == arena.faults
    await assert_undisturbed(arena)
