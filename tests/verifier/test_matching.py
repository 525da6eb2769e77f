"""Two sequences of one topic partition: what differs, and as what it counts."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.verifier import matching
from projections.verifier.matching import Item, Matching


def item(name: str, content: str = "", *, offset: int = 0, needed: bool = True) -> Item:
    """A record with an id."""
    value = f'{{"id":"{name}","type":"t","content":"{content}"}}'
    return Item(value.encode(), b"t", name.encode(), offset, None, needed)


def findings(
    expected: Iterable[Item], found: Iterable[Item], key: bytes | None = b"u", *, found_first: bool = False
) -> list[tuple[str, str]]:
    """Kind and id of every difference."""
    one = Matching()
    if found_first:
        for each in found:
            one.find(key, each)
    for each in expected:
        one.expect(key, each)
    if not found_first:
        for each in found:
            one.find(key, each)
    return sorted(
        (finding.kind, (finding.expected or finding.found or item("")).identity) for finding in one.findings()
    )


def items(names: str) -> list[Item]:
    """One record for each letter."""
    return [item(name, offset=place) for place, name in enumerate(names)]


@pytest.mark.parametrize("found_first", [False, True])
@pytest.mark.parametrize(
    ("expected", "found", "differences"),
    [
        ("abcd", "abcd", []),
        ("abcd", "acd", [("lost", "b")]),
        ("abcd", "abc", [("lost", "d")]),
        ("abcd", "", [("lost", name) for name in "abcd"]),
        ("abcd", "acbd", [("reordered", "c")]),
        ("abcde", "bcdea", [("reordered", "a")]),
        ("abcde", "eabcd", [("reordered", "e")]),
        ("abcd", "abbcd", [("doubled", "b")]),
        ("abcd", "bacd", [("reordered", "b")]),
        ("abcd", "abcdx", [("wrong", "x")]),
        ("abcd", "axcd", [("lost", "b"), ("wrong", "x")]),
    ],
)
def test_kinds(expected: str, found: str, differences: list[tuple[str, str]], found_first: bool) -> None:
    result = findings(items(expected), items(found), found_first=found_first)
    if differences == [("doubled", "b")]:  # the first of the two is forgotten by then: only the topic can tell
        assert result in ([("doubled", "b")], [("wrong", "b")])
    elif expected == "abcd" and found in ("acbd", "bacd"):  # either of the two may be the one that has moved
        assert [kind for kind, _ in result] == ["reordered"]
    else:
        assert result == sorted(differences)


def test_another_content_is_wrong_and_says_where() -> None:
    one = Matching()
    one.expect(b"u", item("a", "x"))
    one.find(b"u", item("a", "y", offset=7))
    (finding,) = one.findings()
    assert finding.kind == "wrong"
    assert finding.texts == ('content: "x"', 'content: "y"')


def test_another_header_is_wrong() -> None:
    assert findings([item("a")], [item("a")._replace(kind=b"other")]) == [("wrong", "a")]


def test_what_need_not_be_there_may_be_missing_but_not_wrong() -> None:
    optional = item("b", needed=False)
    assert findings([item("a"), optional], [item("a")]) == []
    assert findings([item("a"), optional], [item("a"), item("b")]) == []
    assert findings([item("a"), optional], [item("a"), item("b", "other")]) == [("wrong", "b")]


def test_a_record_under_another_key_is_wrong_once() -> None:
    one = Matching()
    one.expect(b"u", item("a"))
    one.find(b"v", item("a"))
    assert [finding.kind for finding in one.findings()] == ["wrong"]


@given(st.data(), st.integers(0, 40), st.booleans())
def test_lost_doubled_and_wrong_are_counted_exactly_in_any_interleaving(
    data: st.DataObject, count: int, compact: bool
) -> None:
    """Damages of distinct records, both sides handed over in any interleaving, kept whole or as digests."""
    expected = [item(f"r{number}", offset=number) for number in range(count)]
    damage = data.draw(st.lists(st.sampled_from(["", "", "lost", "wrong"]), min_size=count, max_size=count))
    found = []
    wanted = []
    for one, kind in zip(expected, damage, strict=True):
        if kind:
            wanted.append((kind, one.identity))
        if kind == "wrong":
            one = item(one.identity, "other", offset=one.offset)
        if kind != "lost":
            found.append(one)
    matched = Matching()
    dice = random.Random(data.draw(st.integers(0, 1000)))
    left, right = list(expected), list(found)
    whole = matching.WHOLE
    matching.WHOLE = 0 if compact else whole  # type: ignore[misc]
    try:
        while left or right:
            if left and (not right or dice.random() < 0.5):
                matched.expect(b"u", left.pop(0))
            else:
                matched.find(b"u", right.pop(0))
        result = [(one.kind, (one.expected or one.found or item("")).identity) for one in matched.findings()]
    finally:
        matching.WHOLE = whole  # type: ignore[misc]
    assert sorted(result) == sorted(wanted)
