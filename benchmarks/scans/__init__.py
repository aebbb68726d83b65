"""What the benchmarks of detection share: the texts they measure on, and the peers beside Rune."""
