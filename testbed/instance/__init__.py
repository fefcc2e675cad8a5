"""The instance: one process that owns a running testbed, and what its clients need."""
