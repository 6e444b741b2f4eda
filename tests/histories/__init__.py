"""Random histories of batches, held against the invariants."""
