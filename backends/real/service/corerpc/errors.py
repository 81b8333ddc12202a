"""Eru's status numbers, and the errors that this wire knows."""

from __future__ import annotations

from backends.real.service.errors import Status

NUMBERS = {
    "WatchServiceStatus": 1001,
    "ListNetworks": 1011,
    "ConnectNetwork": 1012,
    "DisconnectNetwork": 1013,
    "AddPod": 1021,
    "RemovePod": 1022,
    "GetPod": 1023,
    "ListPods": 1024,
    "GetPodResource": 1025,
    "AddNode": 1031,
    "RemoveNode": 1032,
    "ListPodNodes": 1033,
    "GetNode": 1034,
    "SetNode": 1035,
    "SetNodeStatus": 1036,
    "GetNodeResource": 1037,
    "GetNodeStatus": 1038,
    "GetNodeEngineInfo": 1039,
    "CalculateCapacity": 1041,
    "GetWorkload": 1051,
    "GetWorkloads": 1052,
    "ListWorkloads": 1053,
    "ListNodeWorkloads": 1054,
    "GetWorkloadsStatus": 1055,
    "SetWorkloadsStatus": 1056,
    "RawEngine": 1057,
    "Copy": 1061,
    "Send": 1062,
    "SendLargeFile": 1063,
    "BuildImage": 1071,
    "CacheImage": 1072,
    "RemoveImage": 1073,
    "CreateWorkload": 1074,
    "ReplaceWorkload": 1075,
    "RemoveWorkload": 1076,
    "DissociateWorkload": 1077,
    "ControlWorkload": 1078,
    "ExecuteWorkload": 1079,
    "ReallocResource": 10710,
    "LogStream": 10711,
    "RunAndWait": 10712,
    "ListImage": 10713,
}
"""The status of a failed call, by method. Eru sends 1075 for RemoveWorkload and 1038 for GetNodeEngineInfo by mistake.
"""


class WireError(Exception):
    """What was asked makes no sense, or is not to be had. The message is one line for the caller.

    ``status`` takes the place of the method's own number, for the few cases in which Eru has none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(" ".join(message.split()))
        self.status = status


class NoIds(WireError):
    """There is nothing to do anything to. Eru answers that with no number of its own."""

    def __init__(self) -> None:
        super().__init__("no workload ids are given", Status.UNKNOWN)


def number_of(method: str) -> int:
    """The status of a method that failed."""
    return NUMBERS.get(method, Status.UNKNOWN)
