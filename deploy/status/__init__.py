"""How an installation is: asked of Kafka, of ClickHouse, and of workers and sinks that answer (X27)."""
