"""The pure scheduler core: events in, commands out. No clock, no I/O, no randomness of its own.

Start reading at `scheduler.core.Core`; `docs/architecture.md` tells how an event flows.
"""
