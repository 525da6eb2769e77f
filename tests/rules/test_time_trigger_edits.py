"""Edits of time triggers whose instant lies before a user's creation (P25, C38)."""

from tests.rules.fold import HOURLY, Fold, config


def test_an_edit_older_than_the_user_reaches_the_user() -> None:
    """The version was published before the user came, its switch stands after it: the first tick has the new interval."""
    fold = Fold()
    fold.publish(config(HOURLY), 0)
    version = fold.add(config({**HOURLY, "timeInterval": 3}), 1)
    fold.event(1.5)
    fold.switch(version, 1, sent=2)
    fold.tick(4.4)
    assert fold.balance() == 0
    fold.tick(4.5)
    assert fold.balance() == 1
