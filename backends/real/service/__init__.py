"""What callers see over gRPC: the server they share, and one package for each wire."""
