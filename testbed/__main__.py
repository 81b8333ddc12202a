"""The command line: ``python3 -m testbed up|down|status|env|smoke``."""

from __future__ import annotations

import argparse
import json
import os
import sys

from testbed import beds, smoke
from testbed.system import BedError

NOT_ROOT = 77
"""The exit code where the testbed needs root and has not got it."""
_TEXT = "Real engines as nodes on this machine. All of a bed is below its directory, or has its name, and goes with it."


def main() -> int:
    """Do what the command line says; return 0, 1 for what failed, or `NOT_ROOT`."""
    parser = argparse.ArgumentParser(prog="python3 -m testbed", description=_TEXT)
    parser.add_argument("--dir", metavar="DIR",
                        help=f"of the bed: ${beds.DIRECTORY_VARIABLE}, or else {beds.DEFAULT_DIRECTORY}")  # fmt: skip
    actions = parser.add_subparsers(dest="action", required=True)
    up = actions.add_parser("up", help="bring up what is not up; installs what is missing")
    up.add_argument("--nodes", type=int, default=3, metavar="N", help="at least so many (3)")
    actions.add_parser("down", help="take down everything, also what a killed run left")
    actions.add_parser("status", help="a line for each node; exit code 1 where one does not answer")
    actions.add_parser("env", help="what is up, as JSON")
    actions.add_parser("smoke", help="prove on every node that the limits of a container hold")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("testbed: namespaces, mounts and control groups need root; run it as root", file=sys.stderr)
        return NOT_ROOT
    try:
        return _act(options, beds.find_bed(options.dir))
    except BedError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return 1


def _act(options: argparse.Namespace, bed: beds.Bed) -> int:
    if options.action == "up":
        beds.bring_up(bed, options.nodes)
    elif options.action == "down":
        beds.take_down(bed)
    elif options.action == "smoke":
        print(*smoke.prove(bed), sep="\n")
    elif options.action == "env":
        env = beds.read_env(bed)
        if env is None:
            raise BedError(f"{bed.directory}: no bed is up here; bring it up")
        print(json.dumps(env, indent=2))
    if options.action in ("up", "status"):
        lines = beds.status(bed)
        print(*lines or [f"{bed.directory}: down"], sep="\n")
        return 0 if lines and all(line.endswith(" up") for line in lines) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
