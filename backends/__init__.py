"""Drivers and engines: the simulated world and the real one."""
