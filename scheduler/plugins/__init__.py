"""Resource plugins. Only `scheduler.plugins.registry` knows the concrete ones."""
