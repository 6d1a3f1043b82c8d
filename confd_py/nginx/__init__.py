"""The applier that speaks to nginx: signals, and what its workers answer."""
