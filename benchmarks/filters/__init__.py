"""The benchmark of filters: a collection with metadata, contestants, brute force, report."""
