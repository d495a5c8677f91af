"""Check that a run is sound."""
