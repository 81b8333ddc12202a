"""What workloads and the node use: read from files of Linux, shown to Prometheus and sent to statsd."""
