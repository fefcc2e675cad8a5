"""Tables out of raw rows, with pandas: the only importer of it."""
