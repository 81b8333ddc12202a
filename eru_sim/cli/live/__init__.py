"""Commands that talk to a running service over ``eru.v1``. Nothing here imports gRPC before such a command runs."""
