"""Ports are configured, kept or free."""

import json
import socket
from pathlib import Path

import pytest

from deploy.embedded.errors import StackError
from deploy.embedded.ports import choose_ports, port_from_env


def test_ports_differ_and_are_kept_for_the_next_run(tmp_path: Path) -> None:
    first = choose_ports(("a", "b"), tmp_path / "ports.json", {})
    assert first["a"] != first["b"]
    assert choose_ports(("a", "b"), tmp_path / "ports.json", {}) == first


def test_a_kept_port_that_is_taken_meanwhile_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        (tmp_path / "ports.json").write_text(json.dumps({"a": taken}))
        assert choose_ports(("a",), tmp_path / "ports.json", {})["a"] != taken


def test_a_configured_port_that_is_taken_is_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(StackError, match=f"port {taken}, configured for a, is in use"):
            choose_ports(("a",), tmp_path / "ports.json", {"a": taken})


def test_a_damaged_memory_of_ports_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text('{"a": "x", "b": 99999')
    assert set(choose_ports(("a", "b"), tmp_path / "ports.json", {})) == {"a", "b"}


@pytest.mark.parametrize("text", ["0", "65536", "-1", "http", "1.5"])
def test_a_configured_port_must_be_one(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PLAUDIT_KAFKA_PORT", text)
    with pytest.raises(StackError, match="PLAUDIT_KAFKA_PORT"):
        port_from_env("PLAUDIT_KAFKA_PORT")
