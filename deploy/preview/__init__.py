"""`plaudit preview`: what a catalog would do, before it is published (points.md §9, X22)."""
