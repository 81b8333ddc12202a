"""Real hosts: the live driver, its stores, engines, agent and services."""
