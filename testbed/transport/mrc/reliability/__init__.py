"""The reliability layer: which PSNs have come, which are lost, when to ask again."""
