"""Benchmarks: everything that is about seconds and bytes. `make bench` runs them."""
