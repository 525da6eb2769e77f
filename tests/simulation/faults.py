"""What goes wrong in a schedule: which process is struck when, and how the network and the servers are."""

import asyncio
import random
from typing import TYPE_CHECKING, Final

from tests.simulation.kafka.cluster import Weather
from tests.simulation.loop import Process
from tests.simulation.worker import SESSION_S

if TYPE_CHECKING:
    from tests.simulation.schedule import Slot, World

LAST_FAULT_S: Final = (3.0, 8.0)
MOST_FAULTS: Final = 9
MOST_STEPS: Final = 150
PATIENCE_S: Final = 3.0
"""A strike that has not come by then is taken back."""

TELLING: Final = {
    "worker": ("Fetch", "EndTxn", "EndTxn", "TxnOffsetCommit", "Produce", "InitProducerId", "JoinGroup", "OffsetFetch"),
    "sink": ("Fetch", "OffsetCommit", "ClickHouse", "ClickHouse", "ClickHouse", "JoinGroup"),
}
"""Requests around which faults are put on purpose."""

KINDS: Final = ("kill", "stop", "doze", "cut", "terminate", "join", "leave", "server")
"""Faults. To doze is to be stopped for longer than the session while fetched records are on their way."""

ZOMBIES: Final = (2, 2, 12, 3, 1, 2, 0, 0)
TEMPERS: Final = ((9, 6, 6, 4, 4, 4, 3, 3), ZOMBIES, ZOMBIES, (1, 1, 1, 1, 9, 9, 6, 0), (12, 5, 1, 2, 2, 2, 1, 6))
"""How often each comes; every schedule has one of these: of everything, zombies, rebalances, kills."""


class Nemesis:
    """Draws faults and carries them out."""

    def __init__(self, world: "World", rng: random.Random, *, enabled: bool) -> None:
        self._world = world
        self._rng = rng
        self._enabled = enabled
        self._armed: dict[Process, tuple[str, str, int, str]] = {}
        """By process: request, phase, how many more times, fault."""
        self._temper = rng.choice(TEMPERS)
        self._until = 0.0
        """When everybody who sleeps or is cut off is back."""
        self.over = False
        self.struck = 0

    async def run(self) -> None:
        """Let things go wrong for a while, then mend everything."""
        if self._enabled:
            self._set_weather()
            last = self._rng.choice(LAST_FAULT_S)
            moments = sorted(self._rng.random() * last for _ in range(self._rng.randint(1, MOST_FAULTS)))
            for moment in moments:
                await asyncio.sleep(max(0.0, moment - self._world.loop.time()))
                self._aim()
            await asyncio.sleep(self._rng.random() * 2)
            for slot in self._world.slots:
                self._take_back(slot.process)
            await asyncio.sleep(max(0.0, self._until - self._world.loop.time()) + self._rng.random())
        await self._mend()
        self.over = True

    def _set_weather(self) -> None:
        rng, weather, server = self._rng, self._world.cluster.weather, self._world.clickhouse
        weather.delay_s = rng.choice([0.002, 0.01, 0.03])
        if rng.random() < 0.3:
            weather.slow = rng.choice([0.02, 0.1])
        if rng.random() < 0.4:
            weather.lost = rng.choice([0.005, 0.03])
            weather.unanswered = rng.choice([0.005, 0.03])
        if rng.random() < 0.3:
            weather.refused = rng.choice([0.01, 0.05])
        if rng.random() < 0.4:
            server.long = rng.choice([0.05, 0.2])
        if rng.random() < 0.4:
            server.lost = rng.choice([0.02, 0.1])

    def _aim(self) -> None:
        """Choose whom to strike, how, and at which moment of its work."""
        rng, world = self._rng, self._world
        kind = rng.choices(KINDS, self._temper)[0]
        if kind == "server":
            world.loop.start_in(world.loop.server, self._server_away())
            return
        if kind in ("join", "leave"):
            self._resize(kind)
            return
        running = [slot for slot in world.slots if slot.process.alive and slot.process not in self._armed]
        if not running:
            return
        workers = [slot for slot in running if slot.kind == "worker"]
        slot = rng.choice(workers if kind == "doze" and workers and rng.random() < 0.8 else running)
        if kind == "terminate":
            world.counts[f"{slot.kind} terminated"] += 1
            slot.terminate()
            return
        process = slot.process
        if kind == "doze":
            self._armed[process] = ("Fetch", "filled", 1, kind)
        elif rng.random() < 0.4:
            process.strike_at = process.steps + rng.randint(1, MOST_STEPS)
            process.strike = lambda: self._strike(slot, process, kind)
        else:
            name = rng.choice(TELLING[slot.kind])
            self._armed[process] = (name, rng.choice(["sent", "done"]), rng.randint(1, 3), kind)
        world.loop.at_server(PATIENCE_S, self._take_back, process)

    def at_request(self, process: Process, name: str, phase: str) -> None:
        """A process is about to send a request, or the servers have carried it out."""
        armed = self._armed.get(process)
        if armed is None or armed[:2] != (name, phase):
            return
        left = armed[2] - 1
        if left:
            self._armed[process] = (name, phase, left, armed[3])
            return
        del self._armed[process]
        slot = next((slot for slot in self._world.slots if slot.process is process), None)
        if slot is not None:
            self._strike(slot, process, armed[3])

    def _take_back(self, process: Process) -> None:
        process.strike_at = 0
        self._armed.pop(process, None)

    # faults

    def _strike(self, slot: "Slot", process: Process, kind: str) -> None:
        world, rng = self._world, self._rng
        if slot.process is not process or not process.alive or process.stopped:
            return
        self.struck += 1
        long = rng.random() * 2.5 * SESSION_S
        if kind == "kill":
            world.counts[f"{slot.kind} killed"] += 1
            world.trace(f"{process.name} KILLED")
            world.loop.kill(process)
            away = rng.choice([0.05, 0.5, 1.5 * SESSION_S]) * rng.random()
            world.loop.at_server(away, slot.start_again, slot.runs)
        elif kind in ("stop", "doze"):
            if kind == "doze":
                long = rng.uniform(1.3, 2.2) * SESSION_S
            self._until = max(self._until, world.loop.time() + long)
            world.counts[f"{slot.kind} stopped" + (" past its session" if long > SESSION_S else "")] += 1
            world.trace(f"{process.name} STOPPED for {long:.2f}")
            world.loop.stop(process)
            if rng.random() < 0.15:
                self._twin(slot, process)
            world.loop.at_server(long, self._go_on, slot, process)
        else:
            world.counts[f"{slot.kind} cut off"] += 1
            world.trace(f"{process.name} CUT OFF for {long:.2f}")
            process.cut = True
            self._until = max(self._until, world.loop.time() + long)
            for call in process.on_down:
                call()
            world.loop.at_server(long, self._reconnect, process)

    def _twin(self, slot: "Slot", process: Process) -> None:
        """Somebody starts another process of the same name while this one sleeps."""
        self._world.counts[f"{slot.kind} replaced while stopped"] += 1
        slot.sleeping.append((process, slot.lanes))
        self._world.loop.at_server(self._rng.random() * SESSION_S, slot.start_again, slot.runs)

    def _go_on(self, slot: "Slot", process: Process) -> None:
        if not process.alive or not process.stopped:
            return
        self._world.trace(f"{process.name} GOES ON")
        lanes = next((lanes for sleeper, lanes in slot.sleeping if sleeper is process), slot.lanes)
        self._world.loop.go_on(process, lanes)
        if slot.process is not process:
            self._world.loop.at_server(self._rng.random() * 0.7, self._world.loop.kill, process)

    def _reconnect(self, process: Process) -> None:
        if process.cut:
            self._world.trace(f"{process.name} RECONNECTED")
            process.cut = False
            for call in process.on_up:
                call()

    def _resize(self, kind: str) -> None:
        world, rng = self._world, self._rng
        which = rng.choice(["worker", "worker", "sink"])
        slots = [slot for slot in world.slots if slot.kind == which]
        world.counts[f"{which} added" if kind == "join" else f"{which} removed"] += 1
        if kind == "join":
            world.add(which, len(slots)).start()
            return
        wanted = [slot for slot in slots if slot.wanted]
        if len(wanted) > 1:
            slot = rng.choice(wanted)
            slot.wanted = False
            slot.terminate()

    async def _server_away(self) -> None:
        world = self._world
        world.counts["ClickHouse killed"] += 1
        world.clickhouse.die()
        await asyncio.sleep(self._rng.random() * 2)
        world.clickhouse.rise()

    async def _mend(self) -> None:
        """Everything works again."""
        world = self._world
        world.cluster.weather = Weather()
        world.clickhouse.long = world.clickhouse.lost = 0.0
        world.clickhouse.rise()
        for slot in list(world.slots):
            self._take_back(slot.process)
            for process, _ in slot.sleeping:
                self._go_on(slot, process)
            self._go_on(slot, slot.process)
            self._reconnect(slot.process)
            if slot.wanted and not slot.process.alive:
                slot.start_again(slot.runs)
