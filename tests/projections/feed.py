"""Fills the derived topics as the engine does, in transactions, some of which are aborted; knows what must come out."""

import asyncio
import json
import random
from collections import Counter
from decimal import Decimal
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from clickhouse_connect.driver.client import Client

from projections.tables import PROJECTED_TOPICS
from schemas.brokers import Brokers
from schemas.instants import format_instant
from schemas.topics import ERASED, REJECTED, TOPIC_OF_TYPE, full_name
from tests.projections import factory

START_MS = 1_741_000_000_000
USERS = 200


class Feed:
    """Events of 200 users in a made-up order; every event gives three to five records.

    Attributes:
        events: events published.
        words: exact total of the metric, by user.
        points: balance, by user.
        lives: of users not erased since, how many events, levels, refusals they have, and their latest event.
        erasures: markers published in the ledger.
    """

    def __init__(self, brokers: Brokers, prefix: str, partitions: int = 4, *, erasing: float = 0.0) -> None:
        """`erasing`: share of events that are followed by an erasure of some user."""
        self._brokers = brokers
        self._prefix = prefix
        self._partitions = partitions
        self._random = random.Random(7)
        self.events = 0
        self.words: dict[str, Decimal] = {}
        self.points: Counter[str] = Counter()
        self.lives: dict[str, Counter[str]] = {}
        self.erasures = 0
        self._erasing = erasing

    async def create_topics(self) -> None:
        """Create the topics that the sink reads."""
        admin = AIOKafkaAdminClient(**self._brokers.client())
        await admin.start()
        try:
            names = [full_name(name, self._prefix) for name in PROJECTED_TOPICS]
            await admin.create_topics([NewTopic(name, self._partitions, 1) for name in names])
        finally:
            await admin.close()

    async def publish(self, events: int, *, per_transaction: int = 100, pause_s: float = 0.0) -> None:
        """Publish some more events; every fifth transaction is aborted and done again."""
        producer = AIOKafkaProducer(
            **self._brokers.client(),
            transactional_id=f"{self._prefix}-feed",
            linger_ms=5,
            retry_backoff_ms=10,
        )
        await producer.start()
        try:
            done = 0
            while done < events:
                size = min(per_transaction, events - done)
                records = [record for _ in range(size) for record in self._next_event()]
                if self._random.random() < 0.2:
                    await self._transaction(producer, records[: len(records) // 2], commit=False)
                await self._transaction(producer, records, commit=True)
                done += size
                await asyncio.sleep(pause_s)
        finally:
            await producer.stop()

    async def _transaction(
        self, producer: AIOKafkaProducer, records: list[tuple[str, int, bytes]], *, commit: bool
    ) -> None:
        await producer.begin_transaction()
        sent = []
        for type_name, partition, value in records:
            logical = TOPIC_OF_TYPE.get(type_name, REJECTED)
            if type_name == ERASED:
                logical = json.loads(value)["data"]["topic"]
            topic = full_name(logical, self._prefix)
            headers = [("type", type_name.encode())] if type_name else []
            sent.append(await producer.send(topic, value, partition=partition, headers=headers))
        await asyncio.gather(*sent)
        if commit:
            await producer.commit_transaction()
        else:
            await producer.abort_transaction()

    def _next_event(self) -> list[tuple[str, int, bytes]]:
        self.events += 1
        index = self._random.randrange(USERS)
        user, partition, sequence = f"u{index}", index % self._partitions, f"e{self.events}"
        records = []
        if user not in self.words:
            records.append(("user.upserted", partition, factory.user_upserted(user)))
        value = Decimal(self._random.randrange(1, 10**12)).scaleb(-9)
        self.words[user] = self.words.get(user, Decimal(0)) + value
        awarded = self._random.randrange(-3, 10)
        self.points[user] += awarded
        at = format_instant(START_MS + self.events)
        metric = factory.metric_changed(user, value=value, total=self.words[user], at=at, event_id=sequence)
        records.append(("metric.changed", partition, metric))
        records.append(
            ("streak.changed", partition, factory.streak_changed(user, length=self.events, sequence=sequence))
        )
        award = factory.points_awarded(user, awarded=awarded, total=self.points[user], at=at, award_id=sequence)
        records.append(("points.awarded", partition, award))
        life = self.lives.setdefault(user, Counter())
        life["events"] += 1
        life["latest"] = self.events
        if self.events % 10 == 0:
            life["levels"] += 1
            records.append(
                ("points.level_changed", partition, factory.level_changed(user, after=sequence, sequence=sequence))
            )
        if self.events % 50 == 0:
            life["refused"] += 1
            refused = factory.rejected(user).replace(b'"offset":17', b'"offset":%d' % self.events)
            records.append(("", partition, refused))
        if self._erasing and self._random.random() < self._erasing:
            records += self._erase(self._random.randrange(USERS), sequence)
        return records

    def _erase(self, index: int, sequence: str) -> list[tuple[str, int, bytes]]:
        user, partition, at = f"u{index}", index % self._partitions, format_instant(START_MS + self.events)
        self.words.pop(user, None)
        self.points.pop(user, None)
        self.lives.pop(user, None)
        self.erasures += 1
        return [
            (ERASED, partition, factory.erased(topic, user, at=at, sequence=sequence, event_id=sequence))
            for topic in PROJECTED_TOPICS
        ]

    def sum(self, what: str) -> int:
        """Return how many of something users have in their present lives."""
        return sum(life[what] for life in self.lives.values())


def found(client: Client, database: str) -> dict[str, Any]:
    """What the tables and views say, without FINAL, as an analyst asks."""
    queries = {
        "events": "SELECT count(), uniqExact(event_id), sum(value) FROM {d}.metric_events",
        "totals": "SELECT count(), sum(total) FROM {d}.metric_totals",
        "awards": "SELECT count(), uniqExact(award_id), sum(awarded) FROM {d}.points_awards",
        "balances": "SELECT count(), sum(total) FROM {d}.points_balances",
        "users": "SELECT count(), countIf(first_event_at <= last_event_at) FROM {d}.users",
        "streaks": "SELECT count(), max(length) FROM {d}.streak_state",
        "levels": "SELECT count() FROM {d}.level_changes",
        "refused": "SELECT count() FROM {d}.rejected",
        "erasures": "SELECT count() FROM {d}.erasures",
        "wrong levels": "SELECT count() FROM {d}.points_balances AS b LEFT JOIN (SELECT user_id, argMax(level_key, "
        "src_off) AS l FROM {d}.level_changes GROUP BY user_id) AS c ON b.user_id = c.user_id WHERE b.level_key != c.l",
    }
    return {name: client.query(query.replace("{d}", database)).result_rows[0] for name, query in queries.items()}


def expected(feed: Feed) -> dict[str, Any]:
    """What `found` must give."""
    words, users = sum(feed.words.values(), Decimal(0)), len(feed.words)
    points = sum(feed.points.values())
    return {
        "events": (feed.sum("events"), feed.sum("events"), words),
        "totals": (users, words),
        "awards": (feed.sum("events"), feed.sum("events"), points),
        "balances": (users, points),
        "users": (users, users),
        "streaks": (users, max(life["latest"] for life in feed.lives.values())),
        "levels": (feed.sum("levels"),),
        "refused": (feed.sum("refused"),),
        "erasures": (feed.erasures,),
        "wrong levels": (0,),
    }
