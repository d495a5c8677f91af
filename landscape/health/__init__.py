"""Check that a run was sound."""
