from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NodeState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NODE_STATE_UNSPECIFIED: _ClassVar[NodeState]
    NODE_STATE_READY: _ClassVar[NodeState]
    NODE_STATE_CORDONED: _ClassVar[NodeState]
    NODE_STATE_DRAINING: _ClassVar[NodeState]
    NODE_STATE_LOST: _ClassVar[NodeState]

class OnUnschedulable(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_UNSCHEDULABLE_UNSPECIFIED: _ClassVar[OnUnschedulable]
    ON_UNSCHEDULABLE_QUEUE: _ClassVar[OnUnschedulable]
    ON_UNSCHEDULABLE_FAIL: _ClassVar[OnUnschedulable]

class OnStartFailure(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_START_FAILURE_UNSPECIFIED: _ClassVar[OnStartFailure]
    ON_START_FAILURE_FAIL: _ClassVar[OnStartFailure]
    ON_START_FAILURE_RETRY: _ClassVar[OnStartFailure]
    ON_START_FAILURE_ELSEWHERE: _ClassVar[OnStartFailure]

class OnNodeLoss(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_NODE_LOSS_UNSPECIFIED: _ClassVar[OnNodeLoss]
    ON_NODE_LOSS_RESCHEDULE: _ClassVar[OnNodeLoss]
    ON_NODE_LOSS_LOSE: _ClassVar[OnNodeLoss]

class OnExit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_EXIT_UNSPECIFIED: _ClassVar[OnExit]
    ON_EXIT_END: _ClassVar[OnExit]
    ON_EXIT_HOLD: _ClassVar[OnExit]

class Pull(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PULL_UNSPECIFIED: _ClassVar[Pull]
    PULL_MISSING: _ClassVar[Pull]
    PULL_ALWAYS: _ClassVar[Pull]
    PULL_NEVER: _ClassVar[Pull]

class Strategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STRATEGY_UNSPECIFIED: _ClassVar[Strategy]
    STRATEGY_AUTO: _ClassVar[Strategy]
    STRATEGY_FILL: _ClassVar[Strategy]
    STRATEGY_EACH: _ClassVar[Strategy]
    STRATEGY_GLOBAL: _ClassVar[Strategy]
    STRATEGY_DRAINED: _ClassVar[Strategy]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_RUNNING: _ClassVar[Outcome]
    OUTCOME_STOPPED: _ClassVar[Outcome]
    OUTCOME_UPDATED: _ClassVar[Outcome]
    OUTCOME_UPDATE_FAILED: _ClassVar[Outcome]
    OUTCOME_REPLACED: _ClassVar[Outcome]
    OUTCOME_ROLLED_BACK: _ClassVar[Outcome]
    OUTCOME_DISSOCIATED: _ClassVar[Outcome]
    OUTCOME_DRAINED: _ClassVar[Outcome]
    OUTCOME_CHANGED: _ClassVar[Outcome]
    OUTCOME_FIXED: _ClassVar[Outcome]
    OUTCOME_COMPLETED: _ClassVar[Outcome]
    OUTCOME_FAILED: _ClassVar[Outcome]
    OUTCOME_KILLED: _ClassVar[Outcome]
    OUTCOME_LOST: _ClassVar[Outcome]
    OUTCOME_REJECTED: _ClassVar[Outcome]
    OUTCOME_REFUSED: _ClassVar[Outcome]

class WorkloadState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WORKLOAD_STATE_UNSPECIFIED: _ClassVar[WorkloadState]
    WORKLOAD_STATE_QUEUED: _ClassVar[WorkloadState]
    WORKLOAD_STATE_BACKOFF: _ClassVar[WorkloadState]
    WORKLOAD_STATE_STARTING: _ClassVar[WorkloadState]
    WORKLOAD_STATE_RUNNING: _ClassVar[WorkloadState]
    WORKLOAD_STATE_STOPPING: _ClassVar[WorkloadState]
    WORKLOAD_STATE_STOPPED: _ClassVar[WorkloadState]
    WORKLOAD_STATE_COMPLETED: _ClassVar[WorkloadState]
    WORKLOAD_STATE_FAILED: _ClassVar[WorkloadState]
    WORKLOAD_STATE_KILLED: _ClassVar[WorkloadState]
    WORKLOAD_STATE_REJECTED: _ClassVar[WorkloadState]
    WORKLOAD_STATE_LOST: _ClassVar[WorkloadState]
    WORKLOAD_STATE_DISSOCIATED: _ClassVar[WorkloadState]

class Gate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GATE_UNSPECIFIED: _ClassVar[Gate]
    GATE_STARTED: _ClassVar[Gate]
    GATE_HEALTHY: _ClassVar[Gate]
NODE_STATE_UNSPECIFIED: NodeState
NODE_STATE_READY: NodeState
NODE_STATE_CORDONED: NodeState
NODE_STATE_DRAINING: NodeState
NODE_STATE_LOST: NodeState
ON_UNSCHEDULABLE_UNSPECIFIED: OnUnschedulable
ON_UNSCHEDULABLE_QUEUE: OnUnschedulable
ON_UNSCHEDULABLE_FAIL: OnUnschedulable
ON_START_FAILURE_UNSPECIFIED: OnStartFailure
ON_START_FAILURE_FAIL: OnStartFailure
ON_START_FAILURE_RETRY: OnStartFailure
ON_START_FAILURE_ELSEWHERE: OnStartFailure
ON_NODE_LOSS_UNSPECIFIED: OnNodeLoss
ON_NODE_LOSS_RESCHEDULE: OnNodeLoss
ON_NODE_LOSS_LOSE: OnNodeLoss
ON_EXIT_UNSPECIFIED: OnExit
ON_EXIT_END: OnExit
ON_EXIT_HOLD: OnExit
PULL_UNSPECIFIED: Pull
PULL_MISSING: Pull
PULL_ALWAYS: Pull
PULL_NEVER: Pull
STRATEGY_UNSPECIFIED: Strategy
STRATEGY_AUTO: Strategy
STRATEGY_FILL: Strategy
STRATEGY_EACH: Strategy
STRATEGY_GLOBAL: Strategy
STRATEGY_DRAINED: Strategy
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_RUNNING: Outcome
OUTCOME_STOPPED: Outcome
OUTCOME_UPDATED: Outcome
OUTCOME_UPDATE_FAILED: Outcome
OUTCOME_REPLACED: Outcome
OUTCOME_ROLLED_BACK: Outcome
OUTCOME_DISSOCIATED: Outcome
OUTCOME_DRAINED: Outcome
OUTCOME_CHANGED: Outcome
OUTCOME_FIXED: Outcome
OUTCOME_COMPLETED: Outcome
OUTCOME_FAILED: Outcome
OUTCOME_KILLED: Outcome
OUTCOME_LOST: Outcome
OUTCOME_REJECTED: Outcome
OUTCOME_REFUSED: Outcome
WORKLOAD_STATE_UNSPECIFIED: WorkloadState
WORKLOAD_STATE_QUEUED: WorkloadState
WORKLOAD_STATE_BACKOFF: WorkloadState
WORKLOAD_STATE_STARTING: WorkloadState
WORKLOAD_STATE_RUNNING: WorkloadState
WORKLOAD_STATE_STOPPING: WorkloadState
WORKLOAD_STATE_STOPPED: WorkloadState
WORKLOAD_STATE_COMPLETED: WorkloadState
WORKLOAD_STATE_FAILED: WorkloadState
WORKLOAD_STATE_KILLED: WorkloadState
WORKLOAD_STATE_REJECTED: WorkloadState
WORKLOAD_STATE_LOST: WorkloadState
WORKLOAD_STATE_DISSOCIATED: WorkloadState
GATE_UNSPECIFIED: Gate
GATE_STARTED: Gate
GATE_HEALTHY: Gate

class GetInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchInfoRequest(_message.Message):
    __slots__ = ("interval_ns",)
    INTERVAL_NS_FIELD_NUMBER: _ClassVar[int]
    interval_ns: int
    def __init__(self, interval_ns: _Optional[int] = ...) -> None: ...

class ServiceInfo(_message.Message):
    __slots__ = ("version", "core_id", "addresses", "policy", "queue", "queue_params_json", "dimensions", "plugins", "workloads", "nodes", "operations", "batches", "journal_digest", "decision_digest", "at_ns", "interval_ns", "orphans")
    class WorkloadsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class NodesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CORE_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    QUEUE_PARAMS_JSON_FIELD_NUMBER: _ClassVar[int]
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    PLUGINS_FIELD_NUMBER: _ClassVar[int]
    WORKLOADS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    DECISION_DIGEST_FIELD_NUMBER: _ClassVar[int]
    AT_NS_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_NS_FIELD_NUMBER: _ClassVar[int]
    ORPHANS_FIELD_NUMBER: _ClassVar[int]
    version: str
    core_id: str
    addresses: _containers.RepeatedScalarFieldContainer[str]
    policy: Policy
    queue: str
    queue_params_json: str
    dimensions: _containers.RepeatedCompositeFieldContainer[Dimension]
    plugins: _containers.RepeatedCompositeFieldContainer[Plugin]
    workloads: _containers.ScalarMap[str, int]
    nodes: _containers.ScalarMap[str, int]
    operations: int
    batches: int
    journal_digest: str
    decision_digest: str
    at_ns: int
    interval_ns: int
    orphans: _containers.RepeatedCompositeFieldContainer[Orphan]
    def __init__(self, version: _Optional[str] = ..., core_id: _Optional[str] = ..., addresses: _Optional[_Iterable[str]] = ..., policy: _Optional[_Union[Policy, _Mapping]] = ..., queue: _Optional[str] = ..., queue_params_json: _Optional[str] = ..., dimensions: _Optional[_Iterable[_Union[Dimension, _Mapping]]] = ..., plugins: _Optional[_Iterable[_Union[Plugin, _Mapping]]] = ..., workloads: _Optional[_Mapping[str, int]] = ..., nodes: _Optional[_Mapping[str, int]] = ..., operations: _Optional[int] = ..., batches: _Optional[int] = ..., journal_digest: _Optional[str] = ..., decision_digest: _Optional[str] = ..., at_ns: _Optional[int] = ..., interval_ns: _Optional[int] = ..., orphans: _Optional[_Iterable[_Union[Orphan, _Mapping]]] = ...) -> None: ...

class Dimension(_message.Message):
    __slots__ = ("name", "unit", "overcommit")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    OVERCOMMIT_FIELD_NUMBER: _ClassVar[int]
    name: str
    unit: str
    overcommit: float
    def __init__(self, name: _Optional[str] = ..., unit: _Optional[str] = ..., overcommit: _Optional[float] = ...) -> None: ...

class Plugin(_message.Message):
    __slots__ = ("name", "version", "params_json", "weight")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARAMS_JSON_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    params_json: str
    weight: float
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., params_json: _Optional[str] = ..., weight: _Optional[float] = ...) -> None: ...

class Orphan(_message.Message):
    __slots__ = ("node_id", "workload_id", "generation")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    workload_id: str
    generation: int
    def __init__(self, node_id: _Optional[str] = ..., workload_id: _Optional[str] = ..., generation: _Optional[int] = ...) -> None: ...

class GetPolicyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Policy(_message.Message):
    __slots__ = ("name", "params_json", "known_names")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARAMS_JSON_FIELD_NUMBER: _ClassVar[int]
    KNOWN_NAMES_FIELD_NUMBER: _ClassVar[int]
    name: str
    params_json: str
    known_names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., params_json: _Optional[str] = ..., known_names: _Optional[_Iterable[str]] = ...) -> None: ...

class SetPolicyRequest(_message.Message):
    __slots__ = ("name", "params_json", "idempotency_key")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARAMS_JSON_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    name: str
    params_json: str
    idempotency_key: str
    def __init__(self, name: _Optional[str] = ..., params_json: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class TailJournalRequest(_message.Message):
    __slots__ = ("first_seq", "follow", "with_header", "limit")
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    WITH_HEADER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    first_seq: int
    follow: bool
    with_header: bool
    limit: int
    def __init__(self, first_seq: _Optional[int] = ..., follow: _Optional[bool] = ..., with_header: _Optional[bool] = ..., limit: _Optional[int] = ...) -> None: ...

class JournalLine(_message.Message):
    __slots__ = ("seq", "at_ns", "line")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    AT_NS_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    seq: int
    at_ns: int
    line: bytes
    def __init__(self, seq: _Optional[int] = ..., at_ns: _Optional[int] = ..., line: _Optional[bytes] = ...) -> None: ...

class Pool(_message.Message):
    __slots__ = ("name", "description", "nodes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    nodes: int
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., nodes: _Optional[int] = ...) -> None: ...

class AddPoolRequest(_message.Message):
    __slots__ = ("name", "description", "idempotency_key")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    idempotency_key: str
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class GetPoolRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListPoolsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPoolsResponse(_message.Message):
    __slots__ = ("pools",)
    POOLS_FIELD_NUMBER: _ClassVar[int]
    pools: _containers.RepeatedCompositeFieldContainer[Pool]
    def __init__(self, pools: _Optional[_Iterable[_Union[Pool, _Mapping]]] = ...) -> None: ...

class RemovePoolRequest(_message.Message):
    __slots__ = ("name", "idempotency_key")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    name: str
    idempotency_key: str
    def __init__(self, name: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class RemovePoolResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Endpoint(_message.Message):
    __slots__ = ("url", "ca", "cert", "key")
    URL_FIELD_NUMBER: _ClassVar[int]
    CA_FIELD_NUMBER: _ClassVar[int]
    CERT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    url: str
    ca: str
    cert: str
    key: str
    def __init__(self, url: _Optional[str] = ..., ca: _Optional[str] = ..., cert: _Optional[str] = ..., key: _Optional[str] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("node_id", "pool", "endpoint_url", "labels", "topology", "taints", "state", "is_available", "is_alive", "is_bypassed", "is_test", "silent_ns", "workloads", "resources")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class TopologyEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_URL_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    TOPOLOGY_FIELD_NUMBER: _ClassVar[int]
    TAINTS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    IS_AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    IS_ALIVE_FIELD_NUMBER: _ClassVar[int]
    IS_BYPASSED_FIELD_NUMBER: _ClassVar[int]
    IS_TEST_FIELD_NUMBER: _ClassVar[int]
    SILENT_NS_FIELD_NUMBER: _ClassVar[int]
    WORKLOADS_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    pool: str
    endpoint_url: str
    labels: _containers.ScalarMap[str, str]
    topology: _containers.ScalarMap[str, str]
    taints: _containers.RepeatedScalarFieldContainer[str]
    state: NodeState
    is_available: bool
    is_alive: bool
    is_bypassed: bool
    is_test: bool
    silent_ns: int
    workloads: int
    resources: NodeResources
    def __init__(self, node_id: _Optional[str] = ..., pool: _Optional[str] = ..., endpoint_url: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., topology: _Optional[_Mapping[str, str]] = ..., taints: _Optional[_Iterable[str]] = ..., state: _Optional[_Union[NodeState, str]] = ..., is_available: _Optional[bool] = ..., is_alive: _Optional[bool] = ..., is_bypassed: _Optional[bool] = ..., is_test: _Optional[bool] = ..., silent_ns: _Optional[int] = ..., workloads: _Optional[int] = ..., resources: _Optional[_Union[NodeResources, _Mapping]] = ...) -> None: ...

class AddNodeRequest(_message.Message):
    __slots__ = ("node_id", "pool", "endpoint", "labels", "topology", "taints", "resources", "capacity", "is_test", "idempotency_key")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class TopologyEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class ResourcesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class CapacityEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    TOPOLOGY_FIELD_NUMBER: _ClassVar[int]
    TAINTS_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    IS_TEST_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    pool: str
    endpoint: Endpoint
    labels: _containers.ScalarMap[str, str]
    topology: _containers.ScalarMap[str, str]
    taints: _containers.RepeatedScalarFieldContainer[str]
    resources: _containers.ScalarMap[str, str]
    capacity: _containers.ScalarMap[str, int]
    is_test: bool
    idempotency_key: str
    def __init__(self, node_id: _Optional[str] = ..., pool: _Optional[str] = ..., endpoint: _Optional[_Union[Endpoint, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., topology: _Optional[_Mapping[str, str]] = ..., taints: _Optional[_Iterable[str]] = ..., resources: _Optional[_Mapping[str, str]] = ..., capacity: _Optional[_Mapping[str, int]] = ..., is_test: _Optional[bool] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class GetNodeRequest(_message.Message):
    __slots__ = ("node_id", "with_resources")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    WITH_RESOURCES_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    with_resources: bool
    def __init__(self, node_id: _Optional[str] = ..., with_resources: _Optional[bool] = ...) -> None: ...

class ListNodesRequest(_message.Message):
    __slots__ = ("pool", "labels", "with_down", "with_resources", "limit")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    POOL_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    WITH_DOWN_FIELD_NUMBER: _ClassVar[int]
    WITH_RESOURCES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    pool: str
    labels: _containers.ScalarMap[str, str]
    with_down: bool
    with_resources: bool
    limit: int
    def __init__(self, pool: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., with_down: _Optional[bool] = ..., with_resources: _Optional[bool] = ..., limit: _Optional[int] = ...) -> None: ...

class SetNodeRequest(_message.Message):
    __slots__ = ("node_id", "endpoint", "is_bypassed", "labels", "resources", "capacity", "is_delta", "taints", "idempotency_key")
    class ResourcesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class CapacityEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    IS_BYPASSED_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    IS_DELTA_FIELD_NUMBER: _ClassVar[int]
    TAINTS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    endpoint: Endpoint
    is_bypassed: bool
    labels: Labels
    resources: _containers.ScalarMap[str, str]
    capacity: _containers.ScalarMap[str, int]
    is_delta: bool
    taints: Taints
    idempotency_key: str
    def __init__(self, node_id: _Optional[str] = ..., endpoint: _Optional[_Union[Endpoint, _Mapping]] = ..., is_bypassed: _Optional[bool] = ..., labels: _Optional[_Union[Labels, _Mapping]] = ..., resources: _Optional[_Mapping[str, str]] = ..., capacity: _Optional[_Mapping[str, int]] = ..., is_delta: _Optional[bool] = ..., taints: _Optional[_Union[Taints, _Mapping]] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class Labels(_message.Message):
    __slots__ = ("labels",)
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    LABELS_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.ScalarMap[str, str]
    def __init__(self, labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Taints(_message.Message):
    __slots__ = ("taints",)
    TAINTS_FIELD_NUMBER: _ClassVar[int]
    taints: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, taints: _Optional[_Iterable[str]] = ...) -> None: ...

class RemoveNodeRequest(_message.Message):
    __slots__ = ("node_id", "idempotency_key")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    idempotency_key: str
    def __init__(self, node_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class RemoveNodeResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CordonNodeRequest(_message.Message):
    __slots__ = ("node_id", "idempotency_key")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    idempotency_key: str
    def __init__(self, node_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class UncordonNodeRequest(_message.Message):
    __slots__ = ("node_id", "idempotency_key")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    idempotency_key: str
    def __init__(self, node_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class DrainNodeRequest(_message.Message):
    __slots__ = ("node_id", "idempotency_key")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    idempotency_key: str
    def __init__(self, node_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class FixNodeRequest(_message.Message):
    __slots__ = ("node_id", "idempotency_key")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    idempotency_key: str
    def __init__(self, node_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class GetNodeResourcesRequest(_message.Message):
    __slots__ = ("node_id",)
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    def __init__(self, node_id: _Optional[str] = ...) -> None: ...

class Amounts(_message.Message):
    __slots__ = ("total", "used")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    total: int
    used: int
    def __init__(self, total: _Optional[int] = ..., used: _Optional[int] = ...) -> None: ...

class NodeResources(_message.Message):
    __slots__ = ("node_id", "dimensions", "slots", "differences")
    class DimensionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Amounts
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Amounts, _Mapping]] = ...) -> None: ...
    class SlotsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Slots
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Slots, _Mapping]] = ...) -> None: ...
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    dimensions: _containers.MessageMap[str, Amounts]
    slots: _containers.MessageMap[str, Slots]
    differences: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, node_id: _Optional[str] = ..., dimensions: _Optional[_Mapping[str, Amounts]] = ..., slots: _Optional[_Mapping[str, Slots]] = ..., differences: _Optional[_Iterable[str]] = ...) -> None: ...

class Slots(_message.Message):
    __slots__ = ("slots",)
    class SlotsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Amounts
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Amounts, _Mapping]] = ...) -> None: ...
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    slots: _containers.MessageMap[str, Amounts]
    def __init__(self, slots: _Optional[_Mapping[str, Amounts]] = ...) -> None: ...

class GetNodeEngineRequest(_message.Message):
    __slots__ = ("node_id",)
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    def __init__(self, node_id: _Optional[str] = ...) -> None: ...

class NodeEngine(_message.Message):
    __slots__ = ("node_id", "kind", "version", "cpus", "memory_bytes", "storage_bytes", "numa", "capabilities", "details_json")
    class NumaEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CPUS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    STORAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    NUMA_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    DETAILS_JSON_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    kind: str
    version: str
    cpus: _containers.RepeatedScalarFieldContainer[str]
    memory_bytes: int
    storage_bytes: int
    numa: _containers.ScalarMap[str, str]
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    details_json: str
    def __init__(self, node_id: _Optional[str] = ..., kind: _Optional[str] = ..., version: _Optional[str] = ..., cpus: _Optional[_Iterable[str]] = ..., memory_bytes: _Optional[int] = ..., storage_bytes: _Optional[int] = ..., numa: _Optional[_Mapping[str, str]] = ..., capabilities: _Optional[_Iterable[str]] = ..., details_json: _Optional[str] = ...) -> None: ...

class RenewNodeRequest(_message.Message):
    __slots__ = ("node_id", "ttl_ns")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_NS_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    ttl_ns: int
    def __init__(self, node_id: _Optional[str] = ..., ttl_ns: _Optional[int] = ...) -> None: ...

class GetNodeStatusRequest(_message.Message):
    __slots__ = ("node_id",)
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    def __init__(self, node_id: _Optional[str] = ...) -> None: ...

class WatchNodesRequest(_message.Message):
    __slots__ = ("pool", "with_current")
    POOL_FIELD_NUMBER: _ClassVar[int]
    WITH_CURRENT_FIELD_NUMBER: _ClassVar[int]
    pool: str
    with_current: bool
    def __init__(self, pool: _Optional[str] = ..., with_current: _Optional[bool] = ...) -> None: ...

class NodeStatus(_message.Message):
    __slots__ = ("node_id", "pool", "is_alive")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    IS_ALIVE_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    pool: str
    is_alive: bool
    def __init__(self, node_id: _Optional[str] = ..., pool: _Optional[str] = ..., is_alive: _Optional[bool] = ...) -> None: ...

class WorkloadSpec(_message.Message):
    __slots__ = ("workload_id", "image", "count", "app", "entrypoint", "pool", "request", "resources", "template", "priority", "tenant", "job_id", "estimate_ns", "deadline_ns", "gang", "gang_timeout_ns", "preempts", "on_unschedulable", "on_start_failure", "start_retries", "on_node_loss", "on_exit")
    class RequestEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class ResourcesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    WORKLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    APP_FIELD_NUMBER: _ClassVar[int]
    ENTRYPOINT_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_NS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_NS_FIELD_NUMBER: _ClassVar[int]
    GANG_FIELD_NUMBER: _ClassVar[int]
    GANG_TIMEOUT_NS_FIELD_NUMBER: _ClassVar[int]
    PREEMPTS_FIELD_NUMBER: _ClassVar[int]
    ON_UNSCHEDULABLE_FIELD_NUMBER: _ClassVar[int]
    ON_START_FAILURE_FIELD_NUMBER: _ClassVar[int]
    START_RETRIES_FIELD_NUMBER: _ClassVar[int]
    ON_NODE_LOSS_FIELD_NUMBER: _ClassVar[int]
    ON_EXIT_FIELD_NUMBER: _ClassVar[int]
    workload_id: str
    image: str
    count: int
    app: str
    entrypoint: str
    pool: str
    request: _containers.ScalarMap[str, int]
    resources: _containers.ScalarMap[str, str]
    template: Template
    priority: int
    tenant: str
    job_id: str
    estimate_ns: int
    deadline_ns: int
    gang: bool
    gang_timeout_ns: int
    preempts: bool
    on_unschedulable: OnUnschedulable
    on_start_failure: OnStartFailure
    start_retries: int
    on_node_loss: OnNodeLoss
    on_exit: OnExit
    def __init__(self, workload_id: _Optional[str] = ..., image: _Optional[str] = ..., count: _Optional[int] = ..., app: _Optional[str] = ..., entrypoint: _Optional[str] = ..., pool: _Optional[str] = ..., request: _Optional[_Mapping[str, int]] = ..., resources: _Optional[_Mapping[str, str]] = ..., template: _Optional[_Union[Template, _Mapping]] = ..., priority: _Optional[int] = ..., tenant: _Optional[str] = ..., job_id: _Optional[str] = ..., estimate_ns: _Optional[int] = ..., deadline_ns: _Optional[int] = ..., gang: _Optional[bool] = ..., gang_timeout_ns: _Optional[int] = ..., preempts: _Optional[bool] = ..., on_unschedulable: _Optional[_Union[OnUnschedulable, str]] = ..., on_start_failure: _Optional[_Union[OnStartFailure, str]] = ..., start_retries: _Optional[int] = ..., on_node_loss: _Optional[_Union[OnNodeLoss, str]] = ..., on_exit: _Optional[_Union[OnExit, str]] = ...) -> None: ...

class Template(_message.Message):
    __slots__ = ("command", "env", "working_dir", "user", "is_privileged", "has_tty", "open_stdin", "labels", "networks", "dns", "extra_hosts", "publish", "sysctls", "restart", "stop_grace_ns", "log", "log_options", "health", "hooks", "files", "pull", "engine_json")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class NetworksEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class SysctlsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LogOptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class FilesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: File
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[File, _Mapping]] = ...) -> None: ...
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    WORKING_DIR_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    IS_PRIVILEGED_FIELD_NUMBER: _ClassVar[int]
    HAS_TTY_FIELD_NUMBER: _ClassVar[int]
    OPEN_STDIN_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NETWORKS_FIELD_NUMBER: _ClassVar[int]
    DNS_FIELD_NUMBER: _ClassVar[int]
    EXTRA_HOSTS_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_FIELD_NUMBER: _ClassVar[int]
    SYSCTLS_FIELD_NUMBER: _ClassVar[int]
    RESTART_FIELD_NUMBER: _ClassVar[int]
    STOP_GRACE_NS_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    LOG_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    HOOKS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    PULL_FIELD_NUMBER: _ClassVar[int]
    ENGINE_JSON_FIELD_NUMBER: _ClassVar[int]
    command: _containers.RepeatedScalarFieldContainer[str]
    env: _containers.RepeatedScalarFieldContainer[str]
    working_dir: str
    user: str
    is_privileged: bool
    has_tty: bool
    open_stdin: bool
    labels: _containers.ScalarMap[str, str]
    networks: _containers.ScalarMap[str, str]
    dns: _containers.RepeatedScalarFieldContainer[str]
    extra_hosts: _containers.RepeatedScalarFieldContainer[str]
    publish: _containers.RepeatedScalarFieldContainer[str]
    sysctls: _containers.ScalarMap[str, str]
    restart: str
    stop_grace_ns: int
    log: str
    log_options: _containers.ScalarMap[str, str]
    health: HealthCheck
    hooks: Hooks
    files: _containers.MessageMap[str, File]
    pull: Pull
    engine_json: str
    def __init__(self, command: _Optional[_Iterable[str]] = ..., env: _Optional[_Iterable[str]] = ..., working_dir: _Optional[str] = ..., user: _Optional[str] = ..., is_privileged: _Optional[bool] = ..., has_tty: _Optional[bool] = ..., open_stdin: _Optional[bool] = ..., labels: _Optional[_Mapping[str, str]] = ..., networks: _Optional[_Mapping[str, str]] = ..., dns: _Optional[_Iterable[str]] = ..., extra_hosts: _Optional[_Iterable[str]] = ..., publish: _Optional[_Iterable[str]] = ..., sysctls: _Optional[_Mapping[str, str]] = ..., restart: _Optional[str] = ..., stop_grace_ns: _Optional[int] = ..., log: _Optional[str] = ..., log_options: _Optional[_Mapping[str, str]] = ..., health: _Optional[_Union[HealthCheck, _Mapping]] = ..., hooks: _Optional[_Union[Hooks, _Mapping]] = ..., files: _Optional[_Mapping[str, File]] = ..., pull: _Optional[_Union[Pull, str]] = ..., engine_json: _Optional[str] = ...) -> None: ...

class HealthCheck(_message.Message):
    __slots__ = ("tcp_ports", "http_port", "http_path", "http_code", "command", "failure_threshold", "success_threshold")
    TCP_PORTS_FIELD_NUMBER: _ClassVar[int]
    HTTP_PORT_FIELD_NUMBER: _ClassVar[int]
    HTTP_PATH_FIELD_NUMBER: _ClassVar[int]
    HTTP_CODE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    FAILURE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    tcp_ports: _containers.RepeatedScalarFieldContainer[int]
    http_port: int
    http_path: str
    http_code: int
    command: _containers.RepeatedScalarFieldContainer[str]
    failure_threshold: int
    success_threshold: int
    def __init__(self, tcp_ports: _Optional[_Iterable[int]] = ..., http_port: _Optional[int] = ..., http_path: _Optional[str] = ..., http_code: _Optional[int] = ..., command: _Optional[_Iterable[str]] = ..., failure_threshold: _Optional[int] = ..., success_threshold: _Optional[int] = ...) -> None: ...

class Hooks(_message.Message):
    __slots__ = ("after_create", "after_start", "before_stop", "force")
    AFTER_CREATE_FIELD_NUMBER: _ClassVar[int]
    AFTER_START_FIELD_NUMBER: _ClassVar[int]
    BEFORE_STOP_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    after_create: _containers.RepeatedScalarFieldContainer[str]
    after_start: _containers.RepeatedScalarFieldContainer[str]
    before_stop: _containers.RepeatedScalarFieldContainer[str]
    force: bool
    def __init__(self, after_create: _Optional[_Iterable[str]] = ..., after_start: _Optional[_Iterable[str]] = ..., before_stop: _Optional[_Iterable[str]] = ..., force: _Optional[bool] = ...) -> None: ...

class File(_message.Message):
    __slots__ = ("content", "mode", "uid", "gid")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    GID_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    mode: int
    uid: int
    gid: int
    def __init__(self, content: _Optional[bytes] = ..., mode: _Optional[int] = ..., uid: _Optional[int] = ..., gid: _Optional[int] = ...) -> None: ...

class SubmitRequest(_message.Message):
    __slots__ = ("spec", "idempotency_key")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    spec: WorkloadSpec
    idempotency_key: str
    def __init__(self, spec: _Optional[_Union[WorkloadSpec, _Mapping]] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class Spread(_message.Message):
    __slots__ = ("strategy", "nodes_limit", "node_ids", "excluded_node_ids", "node_labels")
    class NodeLabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    NODES_LIMIT_FIELD_NUMBER: _ClassVar[int]
    NODE_IDS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_NODE_IDS_FIELD_NUMBER: _ClassVar[int]
    NODE_LABELS_FIELD_NUMBER: _ClassVar[int]
    strategy: Strategy
    nodes_limit: int
    node_ids: _containers.RepeatedScalarFieldContainer[str]
    excluded_node_ids: _containers.RepeatedScalarFieldContainer[str]
    node_labels: _containers.ScalarMap[str, str]
    def __init__(self, strategy: _Optional[_Union[Strategy, str]] = ..., nodes_limit: _Optional[int] = ..., node_ids: _Optional[_Iterable[str]] = ..., excluded_node_ids: _Optional[_Iterable[str]] = ..., node_labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class DeployRequest(_message.Message):
    __slots__ = ("spec", "spread", "idempotency_key")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    spec: WorkloadSpec
    spread: Spread
    idempotency_key: str
    def __init__(self, spec: _Optional[_Union[WorkloadSpec, _Mapping]] = ..., spread: _Optional[_Union[Spread, _Mapping]] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class PlanRequest(_message.Message):
    __slots__ = ("spec", "spread", "with_capacity")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    WITH_CAPACITY_FIELD_NUMBER: _ClassVar[int]
    spec: WorkloadSpec
    spread: Spread
    with_capacity: bool
    def __init__(self, spec: _Optional[_Union[WorkloadSpec, _Mapping]] = ..., spread: _Optional[_Union[Spread, _Mapping]] = ..., with_capacity: _Optional[bool] = ...) -> None: ...

class PlanResponse(_message.Message):
    __slots__ = ("capacity", "total_capacity", "is_unlimited", "shares", "unplaced", "diagnosis", "refusal")
    class CapacityEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    TOTAL_CAPACITY_FIELD_NUMBER: _ClassVar[int]
    IS_UNLIMITED_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    UNPLACED_FIELD_NUMBER: _ClassVar[int]
    DIAGNOSIS_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    capacity: _containers.ScalarMap[str, int]
    total_capacity: int
    is_unlimited: bool
    shares: _containers.RepeatedCompositeFieldContainer[NodeShare]
    unplaced: int
    diagnosis: Diagnosis
    refusal: str
    def __init__(self, capacity: _Optional[_Mapping[str, int]] = ..., total_capacity: _Optional[int] = ..., is_unlimited: _Optional[bool] = ..., shares: _Optional[_Iterable[_Union[NodeShare, _Mapping]]] = ..., unplaced: _Optional[int] = ..., diagnosis: _Optional[_Union[Diagnosis, _Mapping]] = ..., refusal: _Optional[str] = ...) -> None: ...

class NodeShare(_message.Message):
    __slots__ = ("node_id", "count")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    count: int
    def __init__(self, node_id: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class Diagnosis(_message.Message):
    __slots__ = ("text", "nodes", "fitting", "reasons")
    class ReasonsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    TEXT_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    FITTING_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    text: str
    nodes: int
    fitting: int
    reasons: _containers.ScalarMap[str, int]
    def __init__(self, text: _Optional[str] = ..., nodes: _Optional[int] = ..., fitting: _Optional[int] = ..., reasons: _Optional[_Mapping[str, int]] = ...) -> None: ...

class RunInput(_message.Message):
    __slots__ = ("start", "stdin", "resize", "close_stdin")
    START_FIELD_NUMBER: _ClassVar[int]
    STDIN_FIELD_NUMBER: _ClassVar[int]
    RESIZE_FIELD_NUMBER: _ClassVar[int]
    CLOSE_STDIN_FIELD_NUMBER: _ClassVar[int]
    start: RunStart
    stdin: bytes
    resize: TerminalSize
    close_stdin: CloseStdin
    def __init__(self, start: _Optional[_Union[RunStart, _Mapping]] = ..., stdin: _Optional[bytes] = ..., resize: _Optional[_Union[TerminalSize, _Mapping]] = ..., close_stdin: _Optional[_Union[CloseStdin, _Mapping]] = ...) -> None: ...

class RunStart(_message.Message):
    __slots__ = ("spec", "spread", "detach")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    DETACH_FIELD_NUMBER: _ClassVar[int]
    spec: WorkloadSpec
    spread: Spread
    detach: bool
    def __init__(self, spec: _Optional[_Union[WorkloadSpec, _Mapping]] = ..., spread: _Optional[_Union[Spread, _Mapping]] = ..., detach: _Optional[bool] = ...) -> None: ...

class RunOutput(_message.Message):
    __slots__ = ("workload_id", "started", "stdout", "stderr", "ended")
    WORKLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    STDOUT_FIELD_NUMBER: _ClassVar[int]
    STDERR_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    workload_id: str
    started: RunStarted
    stdout: bytes
    stderr: bytes
    ended: RunEnded
    def __init__(self, workload_id: _Optional[str] = ..., started: _Optional[_Union[RunStarted, _Mapping]] = ..., stdout: _Optional[bytes] = ..., stderr: _Optional[bytes] = ..., ended: _Optional[_Union[RunEnded, _Mapping]] = ...) -> None: ...

class RunStarted(_message.Message):
    __slots__ = ("node_id", "operation_id")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    operation_id: str
    def __init__(self, node_id: _Optional[str] = ..., operation_id: _Optional[str] = ...) -> None: ...

class RunEnded(_message.Message):
    __slots__ = ("exit_code", "error")
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    exit_code: int
    error: str
    def __init__(self, exit_code: _Optional[int] = ..., error: _Optional[str] = ...) -> None: ...

class TerminalSize(_message.Message):
    __slots__ = ("rows", "columns")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    columns: int
    def __init__(self, rows: _Optional[int] = ..., columns: _Optional[int] = ...) -> None: ...

class CloseStdin(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Operation(_message.Message):
    __slots__ = ("operation_id", "kind", "is_done", "results", "remaining", "subjects")
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    IS_DONE_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    operation_id: str
    kind: str
    is_done: bool
    results: _containers.RepeatedCompositeFieldContainer[OperationResult]
    remaining: int
    subjects: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, operation_id: _Optional[str] = ..., kind: _Optional[str] = ..., is_done: _Optional[bool] = ..., results: _Optional[_Iterable[_Union[OperationResult, _Mapping]]] = ..., remaining: _Optional[int] = ..., subjects: _Optional[_Iterable[str]] = ...) -> None: ...

class Operations(_message.Message):
    __slots__ = ("operations",)
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    operations: _containers.RepeatedCompositeFieldContainer[Operation]
    def __init__(self, operations: _Optional[_Iterable[_Union[Operation, _Mapping]]] = ...) -> None: ...

class OperationResult(_message.Message):
    __slots__ = ("subject", "outcome", "detail", "node_id", "hook_output")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    HOOK_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    subject: str
    outcome: Outcome
    detail: str
    node_id: str
    hook_output: bytes
    def __init__(self, subject: _Optional[str] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., detail: _Optional[str] = ..., node_id: _Optional[str] = ..., hook_output: _Optional[bytes] = ...) -> None: ...

class OperationUpdate(_message.Message):
    __slots__ = ("result", "is_done")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    IS_DONE_FIELD_NUMBER: _ClassVar[int]
    result: OperationResult
    is_done: bool
    def __init__(self, result: _Optional[_Union[OperationResult, _Mapping]] = ..., is_done: _Optional[bool] = ...) -> None: ...

class GetOperationRequest(_message.Message):
    __slots__ = ("operation_id",)
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    operation_id: str
    def __init__(self, operation_id: _Optional[str] = ...) -> None: ...

class ListOperationsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListOperationsResponse(_message.Message):
    __slots__ = ("operations",)
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    operations: _containers.RepeatedCompositeFieldContainer[Operation]
    def __init__(self, operations: _Optional[_Iterable[_Union[Operation, _Mapping]]] = ...) -> None: ...

class WatchOperationRequest(_message.Message):
    __slots__ = ("operation_id",)
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    operation_id: str
    def __init__(self, operation_id: _Optional[str] = ...) -> None: ...

class CancelOperationRequest(_message.Message):
    __slots__ = ("operation_id", "idempotency_key")
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    operation_id: str
    idempotency_key: str
    def __init__(self, operation_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class ListQueueRequest(_message.Message):
    __slots__ = ("pool", "tenant", "limit")
    POOL_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    pool: str
    tenant: str
    limit: int
    def __init__(self, pool: _Optional[str] = ..., tenant: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class QueueEntry(_message.Message):
    __slots__ = ("workload", "waiting_ns", "diagnosis", "excuse")
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    WAITING_NS_FIELD_NUMBER: _ClassVar[int]
    DIAGNOSIS_FIELD_NUMBER: _ClassVar[int]
    EXCUSE_FIELD_NUMBER: _ClassVar[int]
    workload: Workload
    waiting_ns: int
    diagnosis: Diagnosis
    excuse: str
    def __init__(self, workload: _Optional[_Union[Workload, _Mapping]] = ..., waiting_ns: _Optional[int] = ..., diagnosis: _Optional[_Union[Diagnosis, _Mapping]] = ..., excuse: _Optional[str] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("key", "limit")
    KEY_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    key: str
    limit: int
    def __init__(self, key: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("key", "state", "node_id", "chapters", "refusals", "diagnosis", "first_seq")
    KEY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    CHAPTERS_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    DIAGNOSIS_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    key: str
    state: WorkloadState
    node_id: str
    chapters: _containers.RepeatedCompositeFieldContainer[Chapter]
    refusals: _containers.RepeatedCompositeFieldContainer[Refusal]
    diagnosis: str
    first_seq: int
    def __init__(self, key: _Optional[str] = ..., state: _Optional[_Union[WorkloadState, str]] = ..., node_id: _Optional[str] = ..., chapters: _Optional[_Iterable[_Union[Chapter, _Mapping]]] = ..., refusals: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., diagnosis: _Optional[str] = ..., first_seq: _Optional[int] = ...) -> None: ...

class Chapter(_message.Message):
    __slots__ = ("seq", "at_ns", "is_command", "name", "facts_json", "text")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    AT_NS_FIELD_NUMBER: _ClassVar[int]
    IS_COMMAND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FACTS_JSON_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    seq: int
    at_ns: int
    is_command: bool
    name: str
    facts_json: str
    text: str
    def __init__(self, seq: _Optional[int] = ..., at_ns: _Optional[int] = ..., is_command: _Optional[bool] = ..., name: _Optional[str] = ..., facts_json: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("at_ns", "diagnosis")
    AT_NS_FIELD_NUMBER: _ClassVar[int]
    DIAGNOSIS_FIELD_NUMBER: _ClassVar[int]
    at_ns: int
    diagnosis: str
    def __init__(self, at_ns: _Optional[int] = ..., diagnosis: _Optional[str] = ...) -> None: ...

class Workload(_message.Message):
    __slots__ = ("workload_id", "state", "image", "app", "entrypoint", "pool", "node_id", "generation", "priority", "tenant", "job_id", "operation_id", "request", "resources", "assignments", "template_digest", "submitted_ns", "placed_ns", "started_ns", "stop_reason", "status", "labels", "publish", "template", "instance")
    class RequestEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class ResourcesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class AssignmentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    WORKLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    APP_FIELD_NUMBER: _ClassVar[int]
    ENTRYPOINT_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENTS_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_NS_FIELD_NUMBER: _ClassVar[int]
    PLACED_NS_FIELD_NUMBER: _ClassVar[int]
    STARTED_NS_FIELD_NUMBER: _ClassVar[int]
    STOP_REASON_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    workload_id: str
    state: WorkloadState
    image: str
    app: str
    entrypoint: str
    pool: str
    node_id: str
    generation: int
    priority: int
    tenant: str
    job_id: str
    operation_id: str
    request: _containers.ScalarMap[str, int]
    resources: _containers.ScalarMap[str, str]
    assignments: _containers.ScalarMap[str, str]
    template_digest: str
    submitted_ns: int
    placed_ns: int
    started_ns: int
    stop_reason: str
    status: WorkloadStatus
    labels: _containers.ScalarMap[str, str]
    publish: _containers.RepeatedScalarFieldContainer[str]
    template: Template
    instance: Instance
    def __init__(self, workload_id: _Optional[str] = ..., state: _Optional[_Union[WorkloadState, str]] = ..., image: _Optional[str] = ..., app: _Optional[str] = ..., entrypoint: _Optional[str] = ..., pool: _Optional[str] = ..., node_id: _Optional[str] = ..., generation: _Optional[int] = ..., priority: _Optional[int] = ..., tenant: _Optional[str] = ..., job_id: _Optional[str] = ..., operation_id: _Optional[str] = ..., request: _Optional[_Mapping[str, int]] = ..., resources: _Optional[_Mapping[str, str]] = ..., assignments: _Optional[_Mapping[str, str]] = ..., template_digest: _Optional[str] = ..., submitted_ns: _Optional[int] = ..., placed_ns: _Optional[int] = ..., started_ns: _Optional[int] = ..., stop_reason: _Optional[str] = ..., status: _Optional[_Union[WorkloadStatus, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., publish: _Optional[_Iterable[str]] = ..., template: _Optional[_Union[Template, _Mapping]] = ..., instance: _Optional[_Union[Instance, _Mapping]] = ...) -> None: ...

class Instance(_message.Message):
    __slots__ = ("state", "engine_id", "name", "exit_code", "pid", "image", "networks", "started_at_ns", "restarts", "error")
    class NetworksEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    STATE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    NETWORKS_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    state: str
    engine_id: str
    name: str
    exit_code: int
    pid: int
    image: str
    networks: _containers.ScalarMap[str, str]
    started_at_ns: int
    restarts: int
    error: str
    def __init__(self, state: _Optional[str] = ..., engine_id: _Optional[str] = ..., name: _Optional[str] = ..., exit_code: _Optional[int] = ..., pid: _Optional[int] = ..., image: _Optional[str] = ..., networks: _Optional[_Mapping[str, str]] = ..., started_at_ns: _Optional[int] = ..., restarts: _Optional[int] = ..., error: _Optional[str] = ...) -> None: ...

class GetWorkloadRequest(_message.Message):
    __slots__ = ("workload_id", "with_template", "with_instance")
    WORKLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    WITH_TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    WITH_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    workload_id: str
    with_template: bool
    with_instance: bool
    def __init__(self, workload_id: _Optional[str] = ..., with_template: _Optional[bool] = ..., with_instance: _Optional[bool] = ...) -> None: ...

class ListWorkloadsRequest(_message.Message):
    __slots__ = ("app", "entrypoint", "node_id", "pool", "tenant", "labels", "states", "workload_ids", "limit", "with_template")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    APP_FIELD_NUMBER: _ClassVar[int]
    ENTRYPOINT_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_IDS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    WITH_TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    app: str
    entrypoint: str
    node_id: str
    pool: str
    tenant: str
    labels: _containers.ScalarMap[str, str]
    states: _containers.RepeatedScalarFieldContainer[WorkloadState]
    workload_ids: _containers.RepeatedScalarFieldContainer[str]
    limit: int
    with_template: bool
    def __init__(self, app: _Optional[str] = ..., entrypoint: _Optional[str] = ..., node_id: _Optional[str] = ..., pool: _Optional[str] = ..., tenant: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., states: _Optional[_Iterable[_Union[WorkloadState, str]]] = ..., workload_ids: _Optional[_Iterable[str]] = ..., limit: _Optional[int] = ..., with_template: _Optional[bool] = ...) -> None: ...

class RemoveWorkloadsRequest(_message.Message):
    __slots__ = ("workload_ids", "idempotency_key", "force")
    WORKLOAD_IDS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    workload_ids: _containers.RepeatedScalarFieldContainer[str]
    idempotency_key: str
    force: bool
    def __init__(self, workload_ids: _Optional[_Iterable[str]] = ..., idempotency_key: _Optional[str] = ..., force: _Optional[bool] = ...) -> None: ...

class StopWorkloadsRequest(_message.Message):
    __slots__ = ("workload_ids", "idempotency_key", "force")
    WORKLOAD_IDS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    workload_ids: _containers.RepeatedScalarFieldContainer[str]
    idempotency_key: str
    force: bool
    def __init__(self, workload_ids: _Optional[_Iterable[str]] = ..., idempotency_key: _Optional[str] = ..., force: _Optional[bool] = ...) -> None: ...

class StartWorkloadsRequest(_message.Message):
    __slots__ = ("workload_ids", "idempotency_key")
    WORKLOAD_IDS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    workload_ids: _containers.RepeatedScalarFieldContainer[str]
    idempotency_key: str
    def __init__(self, workload_ids: _Optional[_Iterable[str]] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class RestartWorkloadsRequest(_message.Message):
    __slots__ = ("workload_ids", "idempotency_key", "force")
    WORKLOAD_IDS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    workload_ids: _containers.RepeatedScalarFieldContainer[str]
    idempotency_key: str
    force: bool
    def __init__(self, workload_ids: _Optional[_Iterable[str]] = ..., idempotency_key: _Optional[str] = ..., force: _Optional[bool] = ...) -> None: ...

class DissociateWorkloadsRequest(_message.Message):
    __slots__ = ("workload_ids", "idempotency_key")
    WORKLOAD_IDS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    workload_ids: _containers.RepeatedScalarFieldContainer[str]
    idempotency_key: str
    def __init__(self, workload_ids: _Optional[_Iterable[str]] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class PauseWorkloadRequest(_message.Message):
    __slots__ = ("workload_id",)
    WORKLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    workload_id: str
    def __init__(self, workload_id: _Optional[str] = ...) -> None: ...

class PauseWorkloadResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ResumeWorkloadRequest(_message.Message):
    __slots__ = ("workload_id",)
    WORKLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    workload_id: str
    def __init__(self, workload_id: _Optional[str] = ...) -> None: ...

class ResumeWorkloadResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReallocWorkloadRequest(_message.Message):
    __slots__ = ("workload_id", "request", "resources", "idempotency_key")
    class RequestEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class ResourcesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    WORKLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    workload_id: str
    request: _containers.ScalarMap[str, int]
    resources: _containers.ScalarMap[str, str]
    idempotency_key: str
    def __init__(self, workload_id: _Optional[str] = ..., request: _Optional[_Mapping[str, int]] = ..., resources: _Optional[_Mapping[str, str]] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class ReplaceWorkloadsRequest(_message.Message):
    __slots__ = ("workload_ids", "app", "entrypoint", "image", "template", "step", "gate", "gate_timeout_ns", "copy", "inherit_networks", "idempotency_key")
    class CopyEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    WORKLOAD_IDS_FIELD_NUMBER: _ClassVar[int]
    APP_FIELD_NUMBER: _ClassVar[int]
    ENTRYPOINT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    GATE_FIELD_NUMBER: _ClassVar[int]
    GATE_TIMEOUT_NS_FIELD_NUMBER: _ClassVar[int]
    COPY_FIELD_NUMBER: _ClassVar[int]
    INHERIT_NETWORKS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    workload_ids: _containers.RepeatedScalarFieldContainer[str]
    app: str
    entrypoint: str
    image: str
    template: Template
    step: int
    gate: Gate
    gate_timeout_ns: int
    copy: _containers.ScalarMap[str, str]
    inherit_networks: bool
    idempotency_key: str
    def __init__(self, workload_ids: _Optional[_Iterable[str]] = ..., app: _Optional[str] = ..., entrypoint: _Optional[str] = ..., image: _Optional[str] = ..., template: _Optional[_Union[Template, _Mapping]] = ..., step: _Optional[int] = ..., gate: _Optional[_Union[Gate, str]] = ..., gate_timeout_ns: _Optional[int] = ..., copy: _Optional[_Mapping[str, str]] = ..., inherit_networks: _Optional[bool] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class WorkloadStatus(_message.Message):
    __slots__ = ("workload_id", "is_running", "is_healthy", "networks", "extension", "app", "entrypoint", "node_id", "ttl_ns")
    class NetworksEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    WORKLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    IS_RUNNING_FIELD_NUMBER: _ClassVar[int]
    IS_HEALTHY_FIELD_NUMBER: _ClassVar[int]
    NETWORKS_FIELD_NUMBER: _ClassVar[int]
    EXTENSION_FIELD_NUMBER: _ClassVar[int]
    APP_FIELD_NUMBER: _ClassVar[int]
    ENTRYPOINT_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_NS_FIELD_NUMBER: _ClassVar[int]
    workload_id: str
    is_running: bool
    is_healthy: bool
    networks: _containers.ScalarMap[str, str]
    extension: bytes
    app: str
    entrypoint: str
    node_id: str
    ttl_ns: int
    def __init__(self, workload_id: _Optional[str] = ..., is_running: _Optional[bool] = ..., is_healthy: _Optional[bool] = ..., networks: _Optional[_Mapping[str, str]] = ..., extension: _Optional[bytes] = ..., app: _Optional[str] = ..., entrypoint: _Optional[str] = ..., node_id: _Optional[str] = ..., ttl_ns: _Optional[int] = ...) -> None: ...

class SetWorkloadStatusesRequest(_message.Message):
    __slots__ = ("statuses",)
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    statuses: _containers.RepeatedCompositeFieldContainer[WorkloadStatus]
    def __init__(self, statuses: _Optional[_Iterable[_Union[WorkloadStatus, _Mapping]]] = ...) -> None: ...

class SetWorkloadStatusesResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetWorkloadStatusesRequest(_message.Message):
    __slots__ = ("workload_ids",)
    WORKLOAD_IDS_FIELD_NUMBER: _ClassVar[int]
    workload_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, workload_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class GetWorkloadStatusesResponse(_message.Message):
    __slots__ = ("statuses",)
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    statuses: _containers.RepeatedCompositeFieldContainer[WorkloadStatus]
    def __init__(self, statuses: _Optional[_Iterable[_Union[WorkloadStatus, _Mapping]]] = ...) -> None: ...

class WatchWorkloadStatusesRequest(_message.Message):
    __slots__ = ("app", "entrypoint", "node_id", "workload_ids", "with_current")
    APP_FIELD_NUMBER: _ClassVar[int]
    ENTRYPOINT_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_IDS_FIELD_NUMBER: _ClassVar[int]
    WITH_CURRENT_FIELD_NUMBER: _ClassVar[int]
    app: str
    entrypoint: str
    node_id: str
    workload_ids: _containers.RepeatedScalarFieldContainer[str]
    with_current: bool
    def __init__(self, app: _Optional[str] = ..., entrypoint: _Optional[str] = ..., node_id: _Optional[str] = ..., workload_ids: _Optional[_Iterable[str]] = ..., with_current: _Optional[bool] = ...) -> None: ...

class WorkloadStatusChange(_message.Message):
    __slots__ = ("kind", "status")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[WorkloadStatusChange.Kind]
        KIND_SET: _ClassVar[WorkloadStatusChange.Kind]
        KIND_EXPIRED: _ClassVar[WorkloadStatusChange.Kind]
        KIND_DELETED: _ClassVar[WorkloadStatusChange.Kind]
    KIND_UNSPECIFIED: WorkloadStatusChange.Kind
    KIND_SET: WorkloadStatusChange.Kind
    KIND_EXPIRED: WorkloadStatusChange.Kind
    KIND_DELETED: WorkloadStatusChange.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    kind: WorkloadStatusChange.Kind
    status: WorkloadStatus
    def __init__(self, kind: _Optional[_Union[WorkloadStatusChange.Kind, str]] = ..., status: _Optional[_Union[WorkloadStatus, _Mapping]] = ...) -> None: ...

class ExecInput(_message.Message):
    __slots__ = ("start", "stdin", "resize", "close_stdin")
    START_FIELD_NUMBER: _ClassVar[int]
    STDIN_FIELD_NUMBER: _ClassVar[int]
    RESIZE_FIELD_NUMBER: _ClassVar[int]
    CLOSE_STDIN_FIELD_NUMBER: _ClassVar[int]
    start: ExecStart
    stdin: bytes
    resize: TerminalSize
    close_stdin: CloseStdin
    def __init__(self, start: _Optional[_Union[ExecStart, _Mapping]] = ..., stdin: _Optional[bytes] = ..., resize: _Optional[_Union[TerminalSize, _Mapping]] = ..., close_stdin: _Optional[_Union[CloseStdin, _Mapping]] = ...) -> None: ...

class ExecStart(_message.Message):
    __slots__ = ("workload_id", "command", "env", "working_dir", "user", "has_tty", "open_stdin", "size")
    WORKLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    WORKING_DIR_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    HAS_TTY_FIELD_NUMBER: _ClassVar[int]
    OPEN_STDIN_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    workload_id: str
    command: _containers.RepeatedScalarFieldContainer[str]
    env: _containers.RepeatedScalarFieldContainer[str]
    working_dir: str
    user: str
    has_tty: bool
    open_stdin: bool
    size: TerminalSize
    def __init__(self, workload_id: _Optional[str] = ..., command: _Optional[_Iterable[str]] = ..., env: _Optional[_Iterable[str]] = ..., working_dir: _Optional[str] = ..., user: _Optional[str] = ..., has_tty: _Optional[bool] = ..., open_stdin: _Optional[bool] = ..., size: _Optional[_Union[TerminalSize, _Mapping]] = ...) -> None: ...

class AttachInput(_message.Message):
    __slots__ = ("start", "stdin", "resize", "close_stdin")
    START_FIELD_NUMBER: _ClassVar[int]
    STDIN_FIELD_NUMBER: _ClassVar[int]
    RESIZE_FIELD_NUMBER: _ClassVar[int]
    CLOSE_STDIN_FIELD_NUMBER: _ClassVar[int]
    start: AttachStart
    stdin: bytes
    resize: TerminalSize
    close_stdin: CloseStdin
    def __init__(self, start: _Optional[_Union[AttachStart, _Mapping]] = ..., stdin: _Optional[bytes] = ..., resize: _Optional[_Union[TerminalSize, _Mapping]] = ..., close_stdin: _Optional[_Union[CloseStdin, _Mapping]] = ...) -> None: ...

class AttachStart(_message.Message):
    __slots__ = ("workload_id", "open_stdin")
    WORKLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    OPEN_STDIN_FIELD_NUMBER: _ClassVar[int]
    workload_id: str
    open_stdin: bool
    def __init__(self, workload_id: _Optional[str] = ..., open_stdin: _Optional[bool] = ...) -> None: ...

class ExecOutput(_message.Message):
    __slots__ = ("stdout", "stderr", "exited")
    STDOUT_FIELD_NUMBER: _ClassVar[int]
    STDERR_FIELD_NUMBER: _ClassVar[int]
    EXITED_FIELD_NUMBER: _ClassVar[int]
    stdout: bytes
    stderr: bytes
    exited: Exited
    def __init__(self, stdout: _Optional[bytes] = ..., stderr: _Optional[bytes] = ..., exited: _Optional[_Union[Exited, _Mapping]] = ...) -> None: ...

class Exited(_message.Message):
    __slots__ = ("exit_code",)
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    exit_code: int
    def __init__(self, exit_code: _Optional[int] = ...) -> None: ...

class ReadLogsRequest(_message.Message):
    __slots__ = ("workload_id", "tail", "since_ns", "until_ns", "follow")
    WORKLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    SINCE_NS_FIELD_NUMBER: _ClassVar[int]
    UNTIL_NS_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    workload_id: str
    tail: int
    since_ns: int
    until_ns: int
    follow: bool
    def __init__(self, workload_id: _Optional[str] = ..., tail: _Optional[int] = ..., since_ns: _Optional[int] = ..., until_ns: _Optional[int] = ..., follow: _Optional[bool] = ...) -> None: ...

class LogChunk(_message.Message):
    __slots__ = ("is_stderr", "data", "at_ns")
    IS_STDERR_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    AT_NS_FIELD_NUMBER: _ClassVar[int]
    is_stderr: bool
    data: bytes
    at_ns: int
    def __init__(self, is_stderr: _Optional[bool] = ..., data: _Optional[bytes] = ..., at_ns: _Optional[int] = ...) -> None: ...

class CopyOutRequest(_message.Message):
    __slots__ = ("workload_id", "path")
    WORKLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    workload_id: str
    path: str
    def __init__(self, workload_id: _Optional[str] = ..., path: _Optional[str] = ...) -> None: ...

class TarChunk(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class CopyInInput(_message.Message):
    __slots__ = ("start", "tar", "file")
    START_FIELD_NUMBER: _ClassVar[int]
    TAR_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    start: CopyInStart
    tar: bytes
    file: CopyInFile
    def __init__(self, start: _Optional[_Union[CopyInStart, _Mapping]] = ..., tar: _Optional[bytes] = ..., file: _Optional[_Union[CopyInFile, _Mapping]] = ...) -> None: ...

class CopyInStart(_message.Message):
    __slots__ = ("workload_ids", "path")
    WORKLOAD_IDS_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    workload_ids: _containers.RepeatedScalarFieldContainer[str]
    path: str
    def __init__(self, workload_ids: _Optional[_Iterable[str]] = ..., path: _Optional[str] = ...) -> None: ...

class CopyInFile(_message.Message):
    __slots__ = ("path", "file")
    PATH_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    path: str
    file: File
    def __init__(self, path: _Optional[str] = ..., file: _Optional[_Union[File, _Mapping]] = ...) -> None: ...

class CopyInResponse(_message.Message):
    __slots__ = ("errors",)
    class ErrorsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    errors: _containers.ScalarMap[str, str]
    def __init__(self, errors: _Optional[_Mapping[str, str]] = ...) -> None: ...

class GetWorkloadUsageRequest(_message.Message):
    __slots__ = ("workload_id",)
    WORKLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    workload_id: str
    def __init__(self, workload_id: _Optional[str] = ...) -> None: ...

class WorkloadUsage(_message.Message):
    __slots__ = ("cpu_ns", "memory_bytes", "network_received_bytes", "network_sent_bytes", "io_read_bytes", "io_written_bytes")
    CPU_NS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    NETWORK_RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    NETWORK_SENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    IO_READ_BYTES_FIELD_NUMBER: _ClassVar[int]
    IO_WRITTEN_BYTES_FIELD_NUMBER: _ClassVar[int]
    cpu_ns: int
    memory_bytes: int
    network_received_bytes: int
    network_sent_bytes: int
    io_read_bytes: int
    io_written_bytes: int
    def __init__(self, cpu_ns: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., network_received_bytes: _Optional[int] = ..., network_sent_bytes: _Optional[int] = ..., io_read_bytes: _Optional[int] = ..., io_written_bytes: _Optional[int] = ...) -> None: ...

class CallEngineRequest(_message.Message):
    __slots__ = ("workload_id", "operation", "params")
    WORKLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    workload_id: str
    operation: str
    params: bytes
    def __init__(self, workload_id: _Optional[str] = ..., operation: _Optional[str] = ..., params: _Optional[bytes] = ...) -> None: ...

class CallEngineResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: bytes
    def __init__(self, result: _Optional[bytes] = ...) -> None: ...

class NodeChoice(_message.Message):
    __slots__ = ("node_ids", "pool")
    NODE_IDS_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    node_ids: _containers.RepeatedScalarFieldContainer[str]
    pool: str
    def __init__(self, node_ids: _Optional[_Iterable[str]] = ..., pool: _Optional[str] = ...) -> None: ...

class ListImagesRequest(_message.Message):
    __slots__ = ("nodes", "filter")
    NODES_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    nodes: NodeChoice
    filter: str
    def __init__(self, nodes: _Optional[_Union[NodeChoice, _Mapping]] = ..., filter: _Optional[str] = ...) -> None: ...

class NodeImages(_message.Message):
    __slots__ = ("node_id", "images", "error")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    images: _containers.RepeatedCompositeFieldContainer[Image]
    error: str
    def __init__(self, node_id: _Optional[str] = ..., images: _Optional[_Iterable[_Union[Image, _Mapping]]] = ..., error: _Optional[str] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("image_id", "tags", "size_bytes")
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    image_id: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    size_bytes: int
    def __init__(self, image_id: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class PullImagesRequest(_message.Message):
    __slots__ = ("nodes", "images")
    NODES_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    nodes: NodeChoice
    images: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, nodes: _Optional[_Union[NodeChoice, _Mapping]] = ..., images: _Optional[_Iterable[str]] = ...) -> None: ...

class RemoveImagesRequest(_message.Message):
    __slots__ = ("nodes", "images", "force", "prune")
    NODES_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    PRUNE_FIELD_NUMBER: _ClassVar[int]
    nodes: NodeChoice
    images: _containers.RepeatedScalarFieldContainer[str]
    force: bool
    prune: bool
    def __init__(self, nodes: _Optional[_Union[NodeChoice, _Mapping]] = ..., images: _Optional[_Iterable[str]] = ..., force: _Optional[bool] = ..., prune: _Optional[bool] = ...) -> None: ...

class BuildImageInput(_message.Message):
    __slots__ = ("start", "context")
    START_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    start: BuildImageStart
    context: bytes
    def __init__(self, start: _Optional[_Union[BuildImageStart, _Mapping]] = ..., context: _Optional[bytes] = ...) -> None: ...

class BuildImageStart(_message.Message):
    __slots__ = ("node_id", "pool", "tags", "push", "workload_id", "builds", "user", "uid", "platform")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    PUSH_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    BUILDS_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    pool: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    push: bool
    workload_id: str
    builds: Builds
    user: str
    uid: int
    platform: str
    def __init__(self, node_id: _Optional[str] = ..., pool: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., push: _Optional[bool] = ..., workload_id: _Optional[str] = ..., builds: _Optional[_Union[Builds, _Mapping]] = ..., user: _Optional[str] = ..., uid: _Optional[int] = ..., platform: _Optional[str] = ...) -> None: ...

class Builds(_message.Message):
    __slots__ = ("stages", "builds")
    class BuildsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Build
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Build, _Mapping]] = ...) -> None: ...
    STAGES_FIELD_NUMBER: _ClassVar[int]
    BUILDS_FIELD_NUMBER: _ClassVar[int]
    stages: _containers.RepeatedScalarFieldContainer[str]
    builds: _containers.MessageMap[str, Build]
    def __init__(self, stages: _Optional[_Iterable[str]] = ..., builds: _Optional[_Mapping[str, Build]] = ...) -> None: ...

class Build(_message.Message):
    __slots__ = ("base", "repo", "version", "dir", "submodule", "commands", "envs", "args", "labels", "artifacts", "cache", "stop_signal", "security")
    class EnvsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class ArgsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class ArtifactsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class CacheEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    BASE_FIELD_NUMBER: _ClassVar[int]
    REPO_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIR_FIELD_NUMBER: _ClassVar[int]
    SUBMODULE_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    ENVS_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    CACHE_FIELD_NUMBER: _ClassVar[int]
    STOP_SIGNAL_FIELD_NUMBER: _ClassVar[int]
    SECURITY_FIELD_NUMBER: _ClassVar[int]
    base: str
    repo: str
    version: str
    dir: str
    submodule: bool
    commands: _containers.RepeatedScalarFieldContainer[str]
    envs: _containers.ScalarMap[str, str]
    args: _containers.ScalarMap[str, str]
    labels: _containers.ScalarMap[str, str]
    artifacts: _containers.ScalarMap[str, str]
    cache: _containers.ScalarMap[str, str]
    stop_signal: str
    security: bool
    def __init__(self, base: _Optional[str] = ..., repo: _Optional[str] = ..., version: _Optional[str] = ..., dir: _Optional[str] = ..., submodule: _Optional[bool] = ..., commands: _Optional[_Iterable[str]] = ..., envs: _Optional[_Mapping[str, str]] = ..., args: _Optional[_Mapping[str, str]] = ..., labels: _Optional[_Mapping[str, str]] = ..., artifacts: _Optional[_Mapping[str, str]] = ..., cache: _Optional[_Mapping[str, str]] = ..., stop_signal: _Optional[str] = ..., security: _Optional[bool] = ...) -> None: ...

class ImageProgress(_message.Message):
    __slots__ = ("node_id", "image", "message", "is_done", "error")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    IS_DONE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    image: str
    message: str
    is_done: bool
    error: str
    def __init__(self, node_id: _Optional[str] = ..., image: _Optional[str] = ..., message: _Optional[str] = ..., is_done: _Optional[bool] = ..., error: _Optional[str] = ...) -> None: ...

class ListNetworksRequest(_message.Message):
    __slots__ = ("nodes", "driver")
    NODES_FIELD_NUMBER: _ClassVar[int]
    DRIVER_FIELD_NUMBER: _ClassVar[int]
    nodes: NodeChoice
    driver: str
    def __init__(self, nodes: _Optional[_Union[NodeChoice, _Mapping]] = ..., driver: _Optional[str] = ...) -> None: ...

class NodeNetworks(_message.Message):
    __slots__ = ("node_id", "networks", "error")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    NETWORKS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    networks: _containers.RepeatedCompositeFieldContainer[Network]
    error: str
    def __init__(self, node_id: _Optional[str] = ..., networks: _Optional[_Iterable[_Union[Network, _Mapping]]] = ..., error: _Optional[str] = ...) -> None: ...

class Network(_message.Message):
    __slots__ = ("name", "driver", "subnets")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DRIVER_FIELD_NUMBER: _ClassVar[int]
    SUBNETS_FIELD_NUMBER: _ClassVar[int]
    name: str
    driver: str
    subnets: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., driver: _Optional[str] = ..., subnets: _Optional[_Iterable[str]] = ...) -> None: ...

class ConnectNetworkRequest(_message.Message):
    __slots__ = ("workload_id", "network", "address")
    WORKLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    workload_id: str
    network: str
    address: str
    def __init__(self, workload_id: _Optional[str] = ..., network: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...

class ConnectNetworkResponse(_message.Message):
    __slots__ = ("address",)
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    address: str
    def __init__(self, address: _Optional[str] = ...) -> None: ...

class DisconnectNetworkRequest(_message.Message):
    __slots__ = ("workload_id", "network", "force")
    WORKLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    workload_id: str
    network: str
    force: bool
    def __init__(self, workload_id: _Optional[str] = ..., network: _Optional[str] = ..., force: _Optional[bool] = ...) -> None: ...

class DisconnectNetworkResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
