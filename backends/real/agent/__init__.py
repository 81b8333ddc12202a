"""The agent of a node: keeps the node's lease, checks its workloads and reports them, ships logs, exports metrics.

Theory of operation. The agent only watches. It learns of workloads from the node's engine (`Engine.instances` for what
there is, `Engine.watch` for what happens) and owes the core two writes, the node's lease and the status of workloads.
No workload is its child or holds a pipe or socket of it, so it may be killed at any moment: the lease lapses, another
agent finds the same workloads again, and nothing of them has changed.

`Agent` puts the parts together, and each part is a loop of its own that outlives the faults of the others:

* `Heartbeat` renews the lease while the engine answers.
* `Workloads` follows events and checks everything again at an interval; a `Prober` asks the workload, a `Reporter`
  tells the core what has changed.
* `LogHub` reads what workloads write and puts it into a bounded spool for each sink, from which a `Forwarder` sends.
* `Sampler` reads usage from the files of Linux; the HTTP API shows it to Prometheus, and it goes to statsd.

Time is `backends.real.clock.Clock`, the core `CoreClient`, the node's engine `Engine`: all three are ports.
"""
