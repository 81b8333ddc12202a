"""From the text of a cluster specification to a Cluster.

Grammar, where ``+`` joins parts and ``?`` starts options for the whole cluster::

    cluster     = part { "+" part } [ "?" option { "&" option } ]
    part        = SHAPES [ ":" COUNT ]           named shapes: google2019-a:5000; no count is the published number
                | COUNT "x" machine              equal machines: 1000x64c256g8gpu, 1000x{cpu_millicores=64000}
                | "csv:" FILE | "parquet:" FILE  an inventory, see eru_sim.cluster_models.inventory
    machine     = CORES "c" [ MEMORY ("k"|"m"|"g"|"t") ] [ GPUS "gpu" ] [ "{" columns "}" ] | "{" columns "}"
    columns     = NAME "=" VALUE { "," NAME "=" VALUE }    capacity columns in base units, or label.NAME=TEXT
    option      = "zones=" N | "racks=" N | "nodes_per_rack=" N | "shuffle=" ("true"|"false")

Cores and GPUs may be fractional; memory is in KiB, MiB, GiB or TiB. A file's path cannot hold ``+`` or ``?``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

import msgspec

from eru_sim.cluster_models.inventory import read_inventory
from eru_sim.cluster_models.nodes import Cluster, ClusterSpecError, NodeSpec, closest, column_problem, parse_capacity
from eru_sim.cluster_models.streams import Stream
from eru_sim.cluster_models.topology import build_topology, lay_out
from traces.shapes import SHAPE_NOTES, SHAPES, apportion, published_nodes

MAX_NODES = 10_000_000
"""The largest count that a part may ask for, against typing errors."""

_SHUFFLE_PURPOSE = 1
_OPTIONS = ("zones", "racks", "nodes_per_rack", "shuffle")
_MEMORY_UNITS = {"k": 10, "m": 20, "g": 30, "t": 40}
_NUMBER = r"\d+(?:\.\d+)?"
_EQUAL = re.compile(
    rf"(?P<count>\d+)x(?:(?P<cores>{_NUMBER})c(?:(?P<memory>{_NUMBER})(?P<unit>[kmgt])(?!pu))?"
    rf"(?:(?P<gpus>{_NUMBER})gpu)?)?(?:\{{(?P<columns>[^{{}}]*)\}})?",
    re.IGNORECASE,
)
_EXAMPLES = "google2019-a:5000, 1000x64c256g, 1000x{cpu_millicores=64000}, csv:FILE or parquet:FILE"


class _Stock(msgspec.Struct, frozen=True):
    """Nodes of one kind: either a prototype that is to be named, or the nodes of an inventory."""

    prefix: str
    count: int
    prototype: NodeSpec | None = None
    inventory: list[NodeSpec] = []


class _Options(msgspec.Struct, frozen=True):
    """The options of a specification."""

    zones: int | None = None
    racks: int | None = None
    nodes_per_rack: int | None = None
    shuffle: bool = False

    def has_layout(self) -> bool:
        """Whether any option lays out zones or racks."""
        return self.zones is not None or self.racks is not None or self.nodes_per_rack is not None


def build_cluster(spec: str, *, seed: int = 0) -> Cluster:
    """Build the cluster that ``spec`` describes; the grammar is in the module's docstring.

    Order is rank: the kinds of machine of all parts (shapes, in their listed order, and inventories) are spread evenly
    over the ranks, so a prefix of the cluster has the mix of the whole. Copy j of a kind with c copies stands at
    (2j + 1) / 2c of the way, ties to the kind given first; an inventory keeps the order of its rows. With
    ``shuffle=true`` the order is instead a random one that ``seed`` determines, its only use. Generated nodes are
    named after their part and numbered by rank (``google2019-a-00000``), and carry the label ``shape`` when the part
    is a set of named shapes. Options ``zones``, ``racks`` and ``nodes_per_rack`` place the nodes that have no place of
    their own, see ``lay_out``.

    The result depends on ``spec``, ``seed`` and the files that it names alone. Raises ClusterSpecError or TraceError,
    in one line, on anything wrong, such as no nodes or a seed that is not in 0 .. 2^64 - 1.
    """
    try:
        stream = Stream(seed, _SHUFFLE_PURPOSE)
    except ValueError as error:
        raise ClusterSpecError(f"cluster '{spec}': {error}") from None
    body, question, options_text = spec.strip().partition("?")
    options = _parse_options(spec, options_text) if question else _Options()
    stocks: list[_Stock] = []
    assumptions: list[str] = []
    for part in _split_parts(spec, body):
        part_stocks, notes = _parse_part(spec, part)
        stocks += part_stocks
        assumptions += [note for note in notes if note not in assumptions]
    nodes = _named(_ordered(stocks, stream if options.shuffle else None))
    _check_unique(spec, nodes)
    if options.shuffle:
        assumptions.append(f"nodes are ranked in a random order (seed {seed})")
    elif len(stocks) > 1:
        assumptions.append("the kinds of machine are spread evenly over the ranks")
    if options.has_layout():
        nodes, note = _laid_out(spec, nodes, options)
        assumptions.append(note)
    try:
        topology = build_topology([node.node_id for node in nodes], [node.topology for node in nodes])
    except ClusterSpecError as error:
        raise ClusterSpecError(f"cluster '{spec}': {error}") from None
    return Cluster(nodes=tuple(nodes), topology=topology, assumptions=tuple(assumptions), spec=spec)


def _split_parts(spec: str, body: str) -> list[str]:
    """Split at ``+`` outside braces."""
    parts = [part.strip() for part in re.split(r"\+(?![^{]*\})", body)]
    if not all(parts):
        raise ClusterSpecError(f"cluster '{spec}': a part is empty; write parts such as {_EXAMPLES}, joined by '+'")
    return parts


def _parse_part(spec: str, part: str) -> tuple[list[_Stock], list[str]]:
    """Return the kinds of machine of one part, and what is assumed about them."""
    kind, colon, file = part.partition(":")
    if colon and kind in ("csv", "parquet"):
        if not file:
            raise ClusterSpecError(f"cluster '{spec}': '{part}' names no file; write {kind}:FILE")
        nodes = read_inventory(kind, file)
        return [_Stock("", len(nodes), inventory=nodes)], []
    if re.match(r"\d+x", part, re.IGNORECASE):
        return [_parse_equal(spec, part)], []
    return _parse_named(spec, part)


def _parse_named(spec: str, part: str) -> tuple[list[_Stock], list[str]]:
    """Return the shapes of ``NAME[:COUNT]`` that have a node, and where they come from."""
    name, colon, text = part.partition(":")
    if name not in SHAPES:
        raise ClusterSpecError(
            f"cluster '{spec}': '{name}' is not a set of machine shapes: {closest(name, SHAPES)}; or write a part "
            f"such as {_EXAMPLES}"
        )
    count = _parse_count(spec, part, text) if colon else published_nodes(name)
    stocks = [
        _Stock(
            name,
            copies,
            NodeSpec(node_id="", capacity=shape.capacity, labels={**shape.labels, "shape": shape.name}),
        )
        for shape, copies in apportion(name, count)
        if copies
    ]
    return stocks, [f"{count} nodes have the machine shapes '{name}': {SHAPE_NOTES[name]}"]


def _parse_equal(spec: str, part: str) -> _Stock:
    """Return the machines of ``COUNTxMACHINE``."""
    match = _EQUAL.fullmatch(part)
    if match is None or not (match["cores"] or match["columns"]):
        raise ClusterSpecError(
            f"cluster '{spec}': '{part}' is not a machine; write COUNTx, then cores, memory and GPUs such as "
            "64c256g8gpu, or columns such as {cpu_millicores=64000,memory_bytes=274877906944}"
        )
    given: list[tuple[str, object]] = []
    if match["cores"]:
        given.append(("cpu_millicores", Decimal(match["cores"]) * 1000))
    if match["memory"]:
        given.append(("memory_bytes", Decimal(match["memory"]) * (1 << _MEMORY_UNITS[match["unit"].lower()])))
    if match["gpus"]:
        given.append(("gpu_milli", Decimal(match["gpus"]) * 1000))
    labels: dict[str, str] = {}
    for item in (match["columns"] or "").split(",") if match["columns"] is not None else []:
        name, equals, value = (text.strip() for text in item.partition("="))
        if not (name and equals and value):
            raise ClusterSpecError(
                f"cluster '{spec}': '{item}' in '{part}' is not NAME=VALUE; write cpu_millicores=64000"
            )
        if name.startswith("label."):
            labels[name.removeprefix("label.")] = value
        else:
            given.append((name, value))
    capacity: dict[str, int] = {}
    for column, amount in given:
        problem = column_problem(column) or (f"{column} is given twice; keep one" if column in capacity else None)
        if problem:
            raise ClusterSpecError(f"cluster '{spec}': in '{part}' {problem}")
        try:
            capacity[column] = parse_capacity(column, amount)
        except ValueError as error:
            raise ClusterSpecError(f"cluster '{spec}': in '{part}' {error}") from None
    if not capacity:
        raise ClusterSpecError(f"cluster '{spec}': '{part}' has no capacity; add one such as cpu_millicores=64000")
    prefix = part[match.end("count") + 1 :].lower() if match["columns"] is None else "node"
    prototype = NodeSpec(node_id="", capacity=capacity, labels=labels)
    return _Stock(prefix, _parse_count(spec, part, match["count"]), prototype)


def _parse_count(spec: str, part: str, text: str) -> int:
    """Return a node count in 1 .. MAX_NODES."""
    count = _parse_positive(text)
    if not 1 <= count <= MAX_NODES:
        raise ClusterSpecError(
            f"cluster '{spec}': the count '{text}' of '{part}' is not in 1 .. {MAX_NODES}; give a number of nodes"
        )
    return count


def _parse_positive(text: str) -> int:
    """Return a positive integer of at most 18 digits, or 0 when the text is not one."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0


def _parse_options(spec: str, text: str) -> _Options:
    """Return the options after ``?``."""
    given: dict[str, int | bool] = {}
    for item in text.split("&"):
        name, _, value = item.partition("=")
        if name not in _OPTIONS:
            raise ClusterSpecError(f"cluster '{spec}': there is no option '{name}': {closest(name, _OPTIONS)}")
        if name in given:
            raise ClusterSpecError(f"cluster '{spec}': the option {name} is given twice; keep one")
        if name == "shuffle":
            if value not in ("true", "false"):
                raise ClusterSpecError(f"cluster '{spec}': shuffle is '{value}'; give true or false")
            given[name] = value == "true"
        else:
            given[name] = _parse_positive(value)
            if not given[name]:
                raise ClusterSpecError(f"cluster '{spec}': {name} is '{value}'; give a positive integer")
    return msgspec.convert(given, _Options)


def _ordered(stocks: list[_Stock], shuffle: Stream | None) -> Iterator[tuple[str, NodeSpec]]:
    """Yield (prefix, prototype) or ("", inventory node) in rank order, a random one when there is a stream for it."""
    # Two different positions differ by at least 1 / 4cc', far more than a float64 can blur; equal ones are equal.
    places = [
        ((2 * copy + 1) / (2 * stock.count), index, copy)
        for index, stock in enumerate(stocks)
        for copy in range(stock.count)
    ]
    places.sort()
    if shuffle is not None:
        places = shuffle.permutation(places)
    for _, index, copy in places:
        stock = stocks[index]
        yield (stock.prefix, stock.prototype) if stock.prototype else ("", stock.inventory[copy])


def _named(ordered: Iterator[tuple[str, NodeSpec]]) -> list[NodeSpec]:
    """Return the nodes, generated ones named ``<prefix>-<number in rank order>``."""
    items = list(ordered)
    totals: dict[str, int] = {}
    for prefix, _ in items:
        totals[prefix] = totals.get(prefix, 0) + 1
    formats = {prefix: f"{{}}-{{:0{max(5, len(str(total - 1)))}d}}".format for prefix, total in totals.items()}
    numbers = dict.fromkeys(totals, 0)
    nodes: list[NodeSpec] = []
    for prefix, node in items:
        if prefix:
            name = formats[prefix](prefix, numbers[prefix])
            numbers[prefix] += 1
            node = NodeSpec(node_id=name, capacity=node.capacity, labels=node.labels)
        nodes.append(node)
    return nodes


def _check_unique(spec: str, nodes: list[NodeSpec]) -> None:
    """Raise ClusterSpecError when two parts have a node of the same name."""
    seen: set[str] = set()
    for node in nodes:
        if node.node_id in seen:
            raise ClusterSpecError(
                f"cluster '{spec}': two nodes are called '{node.node_id}'; rename one of them in its inventory"
            )
        seen.add(node.node_id)


def _laid_out(spec: str, nodes: list[NodeSpec], options: _Options) -> tuple[list[NodeSpec], str]:
    """Return the nodes with a place for those that had none, and the assumption made."""
    homeless = sum(1 for node in nodes if not node.topology)
    if not homeless:
        raise ClusterSpecError(
            f"cluster '{spec}': its inventory already has a topology; leave out zones, racks and nodes_per_rack"
        )
    try:
        places = lay_out(homeless, zones=options.zones, racks=options.racks, nodes_per_rack=options.nodes_per_rack)
    except ClusterSpecError as error:
        raise ClusterSpecError(f"cluster '{spec}': {error}") from None
    laid = {pair for place in places for pair in place.items()}
    clash = sorted(laid & {pair for node in nodes for pair in node.topology.items()})
    if clash:
        raise ClusterSpecError(
            f"cluster '{spec}': {clash[0][0]} '{clash[0][1]}' of the inventory is also the name of a generated one; "
            "rename it in the inventory"
        )
    counts = {level: sum(1 for name, _ in laid if name == level) for level in ("zone", "rack")}
    told = ", ".join(f"{level}s {count}" for level, count in counts.items() if count)
    remaining = iter(places)
    placed = [node if node.topology else _placed(node, next(remaining)) for node in nodes]
    return placed, f"{homeless} nodes are laid out in rank order, one domain filled after the other ({told})"


def _placed(node: NodeSpec, place: dict[str, str]) -> NodeSpec:
    """Return the node standing at ``place``."""
    return NodeSpec(node_id=node.node_id, capacity=node.capacity, labels=node.labels, topology=place)
