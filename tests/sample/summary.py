"""A result of the oracle in a few dozen lines."""

from collections import Counter
from typing import Any

LONGEST_SHOWN = 8


def summarise(result: dict[str, Any]) -> list[str]:
    """Return the totals of a result as lines of text."""
    users = result["users"]
    awards = [award for user in users.values() for award in user["awards"]]
    lines = [
        f"users {len(users)}",
        f"metrics {_sums(users, 'metrics')}",
        f"awards {len(awards)}, boosted {sum(1 for award in awards if award['boosts'])}",
    ]
    number = Counter((award["system"], award["trigger"]) for award in awards)
    points: Counter[tuple[str, str]] = Counter()
    getters: dict[tuple[str, str], set[str]] = {}
    for user_id, user in users.items():
        for award in user["awards"]:
            place = (award["system"], award["trigger"])
            points[place] += award["awarded"]
            getters.setdefault(place, set()).add(user_id)
    lines += [
        f"  {s}/{t}: {number[s, t]} awards, {points[s, t]} points, {len(getters[s, t])} users"
        for s, t in sorted(number)
    ]
    boosts = Counter(boost for award in awards for boost in award["boosts"])
    lines += [f"boost {boost}: {boosts[boost]} awards" for boost in sorted(boosts)]
    for system in sorted({key for user in users.values() for key in user["points"]}):
        levels = Counter(user["points"][system]["level"] for user in users.values())
        total = sum(user["points"][system]["total"] for user in users.values())
        changes = sum(1 for user in users.values() for change in user["levelChanges"] if change["system"] == system)
        shown = ", ".join(f"{level} {count}" for level, count in levels.most_common())
        lines.append(f"{system}: sum of balances {total}, level changes {changes}; users per level: {shown}")
    done = Counter(one["id"] for user in users.values() for one in user["achievements"])
    lines.append(
        f"completions {done.total()}: " + ", ".join(f"{identity} {done[identity]}" for identity in sorted(done))
    )
    for frequency in ("daily", "weekly", "monthly"):
        chains = sorted(
            ((user["streaks"][frequency]["longest"], user_id) for user_id, user in users.items()), reverse=True
        )
        alive = sum(1 for user in users.values() if user["streaks"][frequency]["length"])
        rows = Counter(
            row["outcome"] for user in users.values() for row in user["periods"] if row["frequency"] == frequency
        )
        repaired = sum(
            1 for u in users.values() for row in u["periods"] if row["frequency"] == frequency and row["repaired"]
        )
        longest = ", ".join(f"{user_id} {length}" for length, user_id in chains[:LONGEST_SHOWN])
        lines.append(
            f"{frequency}: longest {longest}; alive {alive}; rows {dict(sorted(rows.items()))}, repaired {repaired}"
        )
    events = Counter(event["type"] for user in users.values() for event in user["streakEvents"])
    lines.append(f"streak events {dict(sorted(events.items()))}")
    return lines


def _sums(users: dict[str, Any], name: str) -> dict[str, Any]:
    sums: Counter[str] = Counter()
    for user in users.values():
        sums.update(user[name])
    return dict(sorted(sums.items()))
