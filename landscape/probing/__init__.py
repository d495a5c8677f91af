"""Evaluate plans of probes with an engine, and keep every result in an HDF5 store."""
