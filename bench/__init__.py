"""What BENCHMARKS.md is made from: `make bench`."""
