"""Engines: adapters to what runs workloads on one node."""
