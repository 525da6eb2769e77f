"""Who may do what: the users of an installation, and the rights that each needs, on Kafka and in ClickHouse."""
