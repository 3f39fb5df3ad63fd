"""The figures of a stack, as they stand in its file `results/bench/<machine>/<app>-<server>.json`.

Times in seconds, sizes in bytes, rates per second, ratios to the reference stack of the same run, in
which more is better: 0.5 does half of the reference's work in the same time. Every part but the head
may be absent, for a run may be asked for some of them only.
"""

# No `from __future__ import annotations`: with it TypedDict does not see NotRequired.
from typing import NotRequired, TypedDict

MARKS = {
    "generator_at_ceiling": "within 80 % of what the generator reaches against a server that only "
    "answers: the stack may be faster than this",
    "generator_busy": "the generator used over 90 % of its core: the stack may be faster than this",
    "saturated": "the server used over 80 % of its core, so requests waited for others",
}


class Interval(TypedDict):
    """A median and the bootstrap interval around it."""

    median: float
    low: float
    high: float


class Slices(TypedDict):
    """What was measured, a column a quantity and an element a slice."""

    round: list[int]
    units: list[int]
    wall_seconds: list[float]
    server_cpu_seconds: list[float]
    generator_cpu_seconds: list[float]


class Percentiles(TypedDict):
    """Of so many samples."""

    samples: int
    p50: float
    p99: float


class Wire(TypedDict):
    """One scenario: what a unit costs, in absolute terms and against the reference.

    A figure with `invalid` has no ratios; one with `unranked` has them and no rank. `noise` holds
    the relative difference of the A/A pair, below which no difference is claimed.
    """

    date: str
    unit: str
    connections: int
    invalid: str | None
    unranked: str | None
    marks: list[str]
    cpu_seconds_a_unit: Interval | None
    units_a_second: Interval | None
    cpu_ratio: Interval | None
    wall_ratio: Interval | None
    cpu_rank: int | None
    wall_rank: int | None
    ranked: int
    noise: dict[str, float]
    ceiling_units_a_second: float
    slices: Slices
    reference_slices: Slices
    twin_slices: Slices


class Latency(TypedDict):
    """Response times at a fixed rate, each from the moment that its request was due."""

    date: str
    requests_a_second: float
    connections: int
    invalid: str | None
    marks: list[str]
    seconds: Percentiles | None


class Crowd(TypedDict):
    """So many streams at once, which their reader all reads."""

    wanted: int
    opened: int
    first_event_seconds: Percentiles | None
    gap_seconds: Percentiles | None
    cpu_seconds_an_event: float | None


class Beside(TypedDict):
    """Echoes on one socket while others are open and silent."""

    wanted: int
    opened: int
    seconds: Percentiles | None


class Felt(TypedDict):
    """Streaming as a user feels it. Tokens are due every `delay_seconds`."""

    date: str
    delay_seconds: float
    crowds: list[Crowd]
    echo_beside_idle: Beside | None


class Held(TypedDict):
    """How many silent streams or sockets were open when `GET /` took over 100 ms, and their memory.

    `wanted` were tried; `bytes_each` is the slope over `points`.
    """

    wanted: int
    opened: int
    bytes_each: float | None
    points: list[dict[str, float]]


class Scale(TypedDict):
    """What silent streams and sockets cost."""

    date: str
    streams: Held
    sockets: Held | None


class Lines(TypedDict):
    """Lines of code that only this endpoint needs, and all that it needs."""

    own: int
    all: int


class Footprint(TypedDict):
    """What a stack takes before anybody has asked for anything."""

    date: str
    lines: int
    lines_by_endpoint: dict[str, Lines]
    packages: int
    installed_bytes: int
    import_cpu_seconds: Interval
    first_answer_seconds: Interval
    idle_bytes: int


class Floor(TypedDict):
    """The greeting of the app against that of its framework's own documentation, same server."""

    date: str
    invalid: str | None
    cpu_ratio: Interval | None
    wall_ratio: Interval | None
    slices: Slices
    bare_slices: Slices


class Machine(TypedDict):
    """What the run ran on."""

    name: str
    processor: str
    cores: int
    memory_bytes: int
    system: str
    kernel: str
    governor: str
    server_cores: list[int]
    generator_cores: list[int]


class Result(TypedDict):
    """One stack, measured in one run."""

    app: str
    server: str
    interface: str
    reference: str
    versions: dict[str, str]
    tools: dict[str, str]
    machine: Machine
    date: str
    command: str
    seed: int
    seconds: float
    overhead: float
    quick: bool
    wire: NotRequired[dict[str, Wire]]
    latency: NotRequired[dict[str, Latency]]
    felt: NotRequired[Felt]
    scale: NotRequired[Scale]
    footprint: NotRequired[Footprint]
    floor: NotRequired[Floor]
