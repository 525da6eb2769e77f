"""Chaos: schedules of faults on three brokers, real workers, sinks, producers and ClickHouse (docs/chaos.md)."""
