"""For how long a log has held what is not done, whatever its records say of themselves."""

from processors.engine.lag import MOST_LOOKS, Backlog


def looked(*looks: tuple[float, int]) -> Backlog:
    backlog = Backlog()
    for now_s, end in looks:
        backlog.look(now_s, end)
    return backlog


def test_a_log_that_is_done_has_no_lag() -> None:
    backlog = looked((0.0, 10), (5.0, 12))
    assert (backlog.records(12), backlog.seconds(1000.0, 12)) == (0, 0.0)


def test_a_log_that_nobody_looked_at_has_no_lag() -> None:
    assert (Backlog().records(0), Backlog().seconds(5.0, 0)) == (0, 0.0)


def test_what_is_not_done_is_as_old_as_the_last_look_before_which_it_was_not_there() -> None:
    backlog = looked((0.0, 10), (5.0, 10), (10.0, 30), (15.0, 40))
    assert backlog.records(12) == 28
    assert backlog.seconds(17.0, 12) == 12.0  # at 5 the log ended at 10, at 10 it held offset 12
    assert backlog.seconds(17.0, 30) == 7.0


def test_a_backlog_from_before_the_first_look_is_at_least_as_old_as_that() -> None:
    backlog = looked((100.0, 1_000_000), (105.0, 1_000_000))
    assert backlog.seconds(160.0, 5) == 60.0


def test_a_tick_that_is_done_tells_of_the_time_before_the_first_look() -> None:
    backlog = looked((100.0, 1_000_000))
    assert backlog.seconds(160.0, 5, newest_done_s=-3_000.0) == 3_160.0
    assert backlog.seconds(160.0, 5, newest_done_s=150.0) == 10.0


def test_a_clock_that_stands_does_not_make_fresh_records_old() -> None:
    backlog = looked((0.0, 10), (5.0, 20))
    assert backlog.seconds(6.0, 10, newest_done_s=-9_000.0) == 6.0


def test_looks_are_bounded_and_the_answer_stays_right_but_coarser() -> None:
    backlog = Backlog()
    for second in range(10 * MOST_LOOKS):
        backlog.look(float(second), second)
    assert len(backlog._looks) <= MOST_LOOKS
    now_s, done = 10.0 * MOST_LOOKS, 3 * MOST_LOOKS
    assert now_s - done <= backlog.seconds(now_s, done) <= (now_s - done) * 1.01
