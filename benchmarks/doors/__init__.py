"""What the benchmarks of the doors share."""
