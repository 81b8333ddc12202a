"""Stores: where a live core keeps its journal, its snapshots and what the edge knows."""
