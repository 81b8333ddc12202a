"""Live operation, put together: the same core over real engines, or simulated ones behind the same driver."""
