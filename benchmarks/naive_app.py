"""What somebody would write with Faust's documentation at hand: an agent, Records, a Table, a send per event.

It does a small part of the worker's work: per user the totals, and the points of one trigger of the sample catalog
(25 for every five commits). No filters, boosts, streaks, achievements, levels or ids, and outputs are neither in a
transaction nor told apart after a crash.
"""

import os
from collections.abc import Mapping

import faust

POINTS = 25
COMMITS = 5


class User(faust.Record):
    """The user of an event."""

    id: str
    tz: str
    attributes: Mapping[str, str]


class Event(faust.Record):
    """A metric event of the sample."""

    eventId: str
    metric: str
    user: User
    value: int
    occurredAt: str
    attributes: Mapping[str, str]


class Progress(faust.Record):
    """State of a user."""

    commits: int = 0
    lines: int = 0
    points: int = 0


class Awarded(faust.Record):
    """What is published for every event."""

    event_id: str
    user: str
    metric: str
    total: int
    awarded: int
    points: int


app = faust.App(
    os.environ.get("NAIVE_APP", "naive"),
    broker=f"kafka://{os.environ.get('KAFKA_BOOTSTRAP', 'localhost:9092')}",
    topic_partitions=int(os.environ.get("NAIVE_PARTITIONS", "8")),
)
events = app.topic(f"{app.conf.id}.events", value_type=Event)
awards = app.topic(f"{app.conf.id}.awards", value_type=Awarded)
users = app.Table(f"{app.conf.id}-users", default=Progress, value_type=Progress)


@app.agent(events)
async def progress(stream: faust.StreamT[Event]) -> None:
    """Count, award, publish."""
    async for event in stream:
        user = event.user.id
        state = users[user]
        awarded = 0
        if event.metric == "commits":
            before = state.commits
            state.commits += event.value
            awarded = POINTS * (state.commits // COMMITS - before // COMMITS)
            state.points += awarded
            total = state.commits
        else:
            state.lines += event.value
            total = state.lines
        users[user] = state
        await awards.send(
            key=user,
            value=Awarded(
                event_id=event.eventId,
                user=user,
                metric=event.metric,
                total=total,
                awarded=awarded,
                points=state.points,
            ),
        )
