"""The embedded ClickHouse is a real server that survives kill -9."""

import socket
from pathlib import Path

import clickhouse_connect
import pytest

from deploy.embedded import ClickHouseServer, SilentProgress, StackError, child, clickhouse
from deploy.embedded.clickhouse import clickhouse_answers


def test_a_row_survives_kill_9_and_the_address_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ClickHouseServer(tmp_path / "with <space", progress=SilentProgress()) as server:
        address, first_pid = server.url, server.pid
        client = clickhouse_connect.get_client(dsn=server.url)
        client.command("CREATE DATABASE app ENGINE = Atomic")
        client.command("CREATE TABLE app.t (x UInt32) ENGINE = MergeTree ORDER BY x")
        client.insert("app.t", [[42]], column_names=["x"])
        memory = client.command("SELECT value FROM system.server_settings WHERE name = 'max_server_memory_usage'")
        assert str(memory) == str(clickhouse.MAX_MEMORY_BYTES)
        client.close()

        monkeypatch.setattr(child, "PREDECESSOR_TIMEOUT_S", 0.1)
        with pytest.raises(StackError, match="another ClickHouse works on"):
            ClickHouseServer(server.directory, progress=SilentProgress()).start()

        server.kill()
        assert not clickhouse_answers(address)
        server.start()
        assert (server.url, server.pid != first_pid) == (address, True)
        client = clickhouse_connect.get_client(dsn=server.url)
        assert client.command("SELECT x FROM app.t") == 42
        # the client's connection stays open: stopping must not take the 5 s that ClickHouse would wait for it
    assert not clickhouse_answers(address)


def test_a_configured_port_is_used_or_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StackError, match=f"port {port}, configured for ClickHouse"):
            ClickHouseServer(tmp_path, port=port, progress=SilentProgress()).start()
    with ClickHouseServer(tmp_path, port=port, progress=SilentProgress()) as server:
        assert server.url == f"http://default:@127.0.0.1:{port}"


def test_without_chdb_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clickhouse, "find_spec", lambda name: None)
    with pytest.raises(StackError, match=r"plaudit\[embedded\].*CLICKHOUSE_URL"):
        ClickHouseServer(tmp_path, progress=SilentProgress()).start()


def test_a_server_that_ends_while_starting_tells_its_log(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the data directory should be")
    with pytest.raises(StackError, match=r"(?s)ClickHouse ended while starting.*stderr\.log"):
        ClickHouseServer(tmp_path, progress=SilentProgress()).start()
