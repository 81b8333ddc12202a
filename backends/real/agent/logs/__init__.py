"""What workloads write, on its way to sinks.

Theory of operation. Lines are read from the engine's own record of a workload's output, never from the workload, and
put into the spool of one sink, which takes them at once: a spool that is full gives up its oldest lines and counts
them. So however slow or dead a sink is, reading goes on, and no workload ever waits. A workload's lines all go to the
same sink, in order. Behind each spool one `Forwarder` sends, and begins anew at an interval when the sink fails; a line
leaves the spool when the sink has taken it, so after a failure the last lines may be sent twice, but not out of order.
"""
