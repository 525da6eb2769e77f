"""The group coordinator of one group: generations, members, static ones too, and committed offsets, pending ones too."""

import asyncio
import random
from collections.abc import Callable

from aiokafka import errors
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from processors.engine.kip447 import FencedInstanceIdError, UnstableOffsetCommitError
from tests.simulation.loop import Process, SimLoop

HEARTBEATS_PER_SESSION = 4

WOKEN_S = (0.02, 0.1, 0.2)
"""Within one of these a process that has slept learns what its heartbeat is answered with."""


class Client:
    """What a member is told, and how it is reached."""

    def __init__(
        self,
        process: Process,
        instance: str | None,
        topics: frozenset[str],
        session_s: float,
        rebalance_s: float,
        told: Callable[[str, Exception], None],
    ) -> None:
        """`told` gets a member id and what its heartbeat was answered with."""
        self.process = process
        self.instance = instance
        self.topics = topics
        self.session_s = session_s
        self.rebalance_s = rebalance_s
        self.told = told


class Member:
    """A member as the broker has it."""

    def __init__(self, id: str, client: Client) -> None:
        self.id = id
        self.client = client
        self.joining: asyncio.Future[tuple[str, int]] | None = None
        self.assigned: set[TopicPartition] = set()
        self.generation = 0
        """The generation that its client knows of."""
        self.downs = 0


class Group:
    """One consumer group. Heartbeats are not sent one by one: a member that cannot be reached for its session time is
    put out, one that can be hears within a heartbeat interval what its next one would be answered with."""

    def __init__(
        self,
        name: str,
        loop: SimLoop,
        rng: random.Random,
        partitions: Callable[[str], int],
        count: Callable[[str], None],
        *,
        together: bool,
    ) -> None:
        """`together`: whoever gets a partition gets that number of all topics."""
        self.name = name
        self.generation = 0
        self.members: dict[str, Member] = {}
        self.offsets: dict[TopicPartition, OffsetAndMetadata] = {}
        self.rebalancing = False
        self._loop = loop
        self._rng = rng
        self._partitions = partitions
        self._count = count
        self._together = together
        self._pending: dict[int, dict[TopicPartition, OffsetAndMetadata]] = {}
        self._rebalances = 0
        self._ids = 0

    # membership

    def join(self, id: str, client: Client) -> asyncio.Future[tuple[str, int]]:
        """JoinGroup: answered with member id and generation, once all have joined."""
        answer: asyncio.Future[tuple[str, int]] = self._loop.create_future()
        static = self._static(client.instance)
        if not id and static is not None:
            return self._replace(static, client, answer)
        if id and static is not None and static.id != id:
            raise FencedInstanceIdError()
        if id and id not in self.members:
            raise errors.UnknownMemberIdError()
        if not id:
            id = self._new_id(client)
            self._add(id, client)
            self._begin_rebalance()
        elif not self.rebalancing:
            if id != next(iter(self.members)):  # a follower with nothing new: as it was
                answer.set_result((id, self.generation))
                return answer
            self._begin_rebalance()
        self.members[id].joining = answer
        self._complete_if_all_joined()
        return answer

    def _replace(
        self, old: Member, client: Client, answer: asyncio.Future[tuple[str, int]]
    ) -> asyncio.Future[tuple[str, int]]:
        """A static member is back, under a new id; whoever still uses the old one is fenced."""
        self._count("static member replaced")
        old.client.process.expired = True
        new = Member(self._new_id(client), client)
        new.assigned = old.assigned
        self.members = {
            (new.id if id == old.id else id): (new if id == old.id else member) for id, member in self.members.items()
        }
        self._watch(new)
        if self.rebalancing:
            new.joining = answer
            self._complete_if_all_joined()
        else:
            new.generation = self.generation
            answer.set_result((new.id, self.generation))
        self._poke(old)
        return answer

    def sync(self, id: str, generation: int) -> set[TopicPartition]:
        """SyncGroup."""
        self._check(id, None)
        if generation != self.generation:
            raise errors.IllegalGenerationError()
        if self.rebalancing:
            raise errors.RebalanceInProgressError()
        return set(self.members[id].assigned)

    def leave(self, id: str) -> None:
        """LeaveGroup."""
        if id in self.members:
            self._remove(self.members[id])

    def _static(self, instance: str | None) -> Member | None:
        if instance is None:
            return None
        return next((member for member in self.members.values() if member.client.instance == instance), None)

    def _new_id(self, client: Client) -> str:
        self._ids += 1
        return f"{client.instance or client.process.name}-{self._ids}"

    def _add(self, id: str, client: Client) -> None:
        member = self.members[id] = Member(id, client)
        self._watch(member)

    def _watch(self, member: Member) -> None:
        """Put the member out when it has been away for its session; let it know when it is back."""
        process = member.client.process

        def down() -> None:
            member.downs += 1
            since = self._rng.random() * member.client.session_s / HEARTBEATS_PER_SESSION
            self._loop.at_server(member.client.session_s - since, expire, member.downs)

        def expire(downs: int) -> None:
            if downs == member.downs and not process.reachable and self.members.get(member.id) is member:
                self._count("session expired")
                process.expired = True
                self._remove(member)

        process.on_down.append(down)
        process.on_up.append(lambda: self._poke(member, self._rng.choice(WOKEN_S)))
        if not process.reachable:
            down()

    def _remove(self, member: Member) -> None:
        del self.members[member.id]
        self._poke(member)
        if self.members:
            self._begin_rebalance()
            self._complete_if_all_joined()
        else:
            self.rebalancing = False
            self.generation += 1

    def _begin_rebalance(self) -> None:
        if self.rebalancing:
            return
        self.rebalancing = True
        self._rebalances += 1
        timeout_s = max(member.client.rebalance_s for member in self.members.values())
        self._loop.at_server(timeout_s, self._give_up_waiting, self._rebalances)
        for member in self.members.values():
            self._poke(member)

    def _give_up_waiting(self, rebalance: int) -> None:
        if not self.rebalancing or rebalance != self._rebalances:
            return
        self._count("rebalance timed out")
        for member in list(self.members.values()):
            if member.joining is None and member.client.instance is None:
                del self.members[member.id]
                self._poke(member)
        self._complete()

    def _complete_if_all_joined(self) -> None:
        if self.rebalancing and all(member.joining is not None for member in self.members.values()):
            self._complete()

    def _complete(self) -> None:
        self.rebalancing = False
        self.generation += 1
        self._count("rebalance")
        self._share_out()
        for member in list(self.members.values()):
            if member.joining is not None:
                member.generation = self.generation
                if not member.joining.done():
                    member.joining.set_result((member.id, self.generation))
                member.joining = None
            else:
                self._poke(member)

    def _share_out(self) -> None:
        """Give every member its share; it keeps what it had as far as that goes, now and then nothing of it."""
        topics = sorted({topic for member in self.members.values() for topic in member.client.topics})
        units = [[TopicPartition(topic, number)] for topic in topics for number in range(self._partitions(topic))]
        if self._together:
            units = [[TopicPartition(topic, n) for topic in topics] for n in range(self._partitions(topics[0]))]
        members = list(self.members.values())
        shuffle = self._rng.random() < 0.2
        before = {tp: member for member in members for tp in member.assigned}
        room = {member.id: -(-len(units) // len(members)) for member in members}
        for member in members:
            member.assigned = set()
        homeless = []
        for unit in units:
            owner = None if shuffle else before.get(unit[0])
            if owner is not None and room[owner.id]:
                room[owner.id] -= 1
                owner.assigned.update(unit)
            else:
                homeless.append(unit)
        for unit in homeless:
            member = self._rng.choice([member for member in members if room[member.id]])
            room[member.id] -= 1
            member.assigned.update(unit)

    def _poke(self, member: Member, within_s: float | None = None) -> None:
        """Let the member's next heartbeat happen, and tell it the answer."""
        client = member.client
        within_s = client.session_s / HEARTBEATS_PER_SESSION if within_s is None else within_s
        self._loop.at_server(self._rng.random() * within_s, self._beat, member)

    def _beat(self, member: Member) -> None:
        process = member.client.process
        if not process.reachable:  # it is poked when it is back
            return
        try:
            self._check(member.id, None)
            if self.members[member.id] is member and self.rebalancing and member.joining is None:
                raise errors.RebalanceInProgressError()
            if member.joining is None and member.generation != self.generation:
                raise errors.IllegalGenerationError()
        except errors.KafkaError as error:
            member.client.told(member.id, error)

    # offsets

    def _check(self, id: str, instance: str | None) -> None:
        """Raise unless this is a member now."""
        static = self._static(instance)
        if static is not None and static.id != id:
            raise FencedInstanceIdError()
        if id not in self.members:
            raise errors.UnknownMemberIdError()

    def commit(self, id: str, generation: int, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        """OffsetCommit, outside of transactions. A group without members takes it from anybody without generation."""
        if generation < 0 and not self.members:
            self.offsets.update(offsets)
            return
        self._check(id, None)
        if generation != self.generation:
            raise errors.IllegalGenerationError()
        self.offsets.update(offsets)

    def commit_in_transaction(
        self, pid: int, member: tuple[int, str, str | None], offsets: dict[TopicPartition, OffsetAndMetadata]
    ) -> None:
        """TxnOffsetCommit. A request that names no member at all, as clients before KIP-447 send it, is taken."""
        generation, id, instance = member
        if generation >= 0 or id or instance is not None:
            self._check(id, instance)
            if generation != self.generation:
                raise errors.IllegalGenerationError()
        self._pending.setdefault(pid, {}).update(offsets)

    def end_transaction(self, pid: int, *, commit: bool) -> None:
        """The marker of a transaction in the topic of offsets."""
        offsets = self._pending.pop(pid, {})
        if commit:
            self.offsets.update(offsets)

    def fetch(self, tps: set[TopicPartition], *, stable: bool) -> dict[TopicPartition, OffsetAndMetadata]:
        """OffsetFetch, with or without require_stable."""
        if stable and any(tps & pending.keys() for pending in self._pending.values()):
            raise UnstableOffsetCommitError()
        return {tp: offset for tp, offset in self.offsets.items() if tp in tps}
