"""The live benchmark: what changing an index costs, and what it costs those who search it meanwhile."""
