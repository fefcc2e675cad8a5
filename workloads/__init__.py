"""Traffic programs over the verbs API (collectives, incast, training). Pure."""
