"""Data that crosses a boundary, as msgspec Structs. Validation, no behaviour."""
