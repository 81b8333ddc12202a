"""`eru.v1`, our own wire: everything that the live cluster can do, with gRPC's own statuses."""
