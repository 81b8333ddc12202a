"""Real engines as nodes on one machine, for tests and for trying things. ``python3 -m testbed`` from the repository.

Theory of operation. A *bed* is a directory. A node of it is a network namespace with an address on the bed's bridge, a
mount namespace, a control group, and the daemons in them, so daemons of many nodes run side by side and the machine's
own network, mounts and groups are left as they are. All names (namespaces, groups, interfaces) contain the bed's name,
which follows from its directory: several beds do not meet, and everything of a bed can be found by its name and taken
down, also what a killed run left behind. What nodes have is written to ``env.json`` in the directory.

`beds` brings up and down, `docker_nodes` is the one kind of daemon there is yet; a module beside it would add another
(libvirt, systemd, etcd). Standard library only: it runs before anything is installed.
"""
