"""What benchmarks share: watching a command, and keeping what was measured."""
