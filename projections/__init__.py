"""ClickHouse: numbered migrations, row builders, the sink, and the analysts' questions as SQL files."""
