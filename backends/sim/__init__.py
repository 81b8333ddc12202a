"""The simulated world: a SimPy driver, an engine model, and faults."""
