"""`plaudit why`: finds the record behind an id, rebuilds the state before it, and shows what the rules decided (X21)."""
