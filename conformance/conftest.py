"""Turns pytest into the conformance runner: which stack, which cases, what each comes to.

Each lane has a server of its own, so cases that wait do so side by side, and a case that counts
sockets or memory counts only what it did itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from itertools import batched, chain, zip_longest
from pathlib import Path

import httpx2 as httpx
import hypothesis
import pytest

import stacks
from conformance import cases, results, subject
from conformance.judgement import UNSERVED, Recorder, judge
from conformance.results import Level, Outcome
from conformance.tokens import make_tables
from conformance.upstream import Upstream
from conformance.wire import PATIENCE, Address

# Whole seconds, so that an app may read them as integers, and low, so that no case has to wait.
PING_INTERVAL = 1
UPSTREAM_TIMEOUT = 2
CONNECTIONS_END_WITHIN = 0.3
LISTED_ORIGINS = ("https://one.example", "http://two.example:8080")
ENVIRON = {
    "PING_INTERVAL": str(PING_INTERVAL),
    "ALLOWED_ORIGINS": " , ".join(LISTED_ORIGINS),
    "UPSTREAM_TIMEOUT": str(UPSTREAM_TIMEOUT),
}

# Bounded and the same in every run: a case must come to the same outcome twice.
hypothesis.settings.register_profile(
    "conformance",
    max_examples=25,
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.load_profile("conformance")

pytest_plugins = ("conformance.lanes",)


# Which stack


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("samewire", "what is judged")
    subject.add_options(group)
    add = group.addoption
    add("--only", action="append", choices=results.GROUPS, help="judge one group")
    add("--slow", action="store_true", help="also judge what takes over a minute")
    add("--results", type=Path, help="write every outcome to this JSON file, or into this folder")


def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    try:
        stack = config.stash[STACK] = subject.chosen_stack(option)
        subject.check_declarations(stack)
        stacks.install(stack)
    except stacks.StackError as error:
        raise pytest.UsageError(str(error)) from None
    recorder = Recorder(stack, slow=option.slow, path=option.results)
    config.pluginmanager.register(recorder, "recorder")


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Start a command once alone: what it has to compile or to fetch then, all lanes would at once."""
    stack = session.config.stash[STACK]
    if stack.server != "command" or not session.config.option.lanes:
        return
    try:
        with closing(Lane(stack)) as lane:
            lane.server()
    except stacks.StackError as error:
        raise pytest.UsageError(str(error)) from None


# Its servers


type Start = Callable[..., AbstractContextManager[stacks.Running]]


class Unserved(stacks.StackError):
    """What is to be judged answers nobody."""


class Lane:
    """The server of one lane: started when first needed, replaced when a case has spoilt it.

    The upstream is the lane's own, and outlives the servers that are told of it.
    """

    def __init__(self, stack: stacks.Stack):
        self.stack = stack
        self.upstream = Upstream()
        self.environ = ENVIRON | {"UPSTREAM_BASE_URL": self.upstream.url}
        self._served = False
        self._server: subject.Server | None = None
        self._exit = ExitStack()

    def server(self) -> subject.Server:
        """Return a server that answers; raise Unserved where there never was one."""
        if self._server is None:
            try:
                self._server = self._exit.enter_context(subject.started(self.stack, self.environ))
            except stacks.StackError as error:
                if self._served:
                    raise
                raise Unserved(str(error)) from None
            self._served = True
        return self._server

    def end_server(self) -> None:
        self._server = None
        self._exit.close()

    def close(self) -> None:
        self.end_server()
        self.upstream.close()


STACK = pytest.StashKey[stacks.Stack]()


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> stacks.Stack:
    """What is judged."""
    return request.config.stash[STACK]


@pytest.fixture(scope="session")
def lane(stack: stacks.Stack) -> Iterator[Lane]:
    with closing(Lane(stack)) as lane:
        yield lane


@pytest.fixture
def server(lane: Lane, request: pytest.FixtureRequest) -> Iterator[subject.Server]:
    """The stack, up and answering."""
    server = lane.server()
    yield server
    dead = isinstance(server, stacks.Running) and server.process.poll() is not None
    if dead or (request.node.stash.get(FAILED, False) and _may_be_spoilt(request.node, server)):
        lane.end_server()
    assert not dead, "the server exited during this case, wanted it to go on"


def _may_be_spoilt(item: pytest.Item, server: subject.Server) -> bool:
    """Return whether the next case gets a new server, because one that failed had this one.

    It may have left the server with anything, and a case that looks into its process did so on
    purpose. But what is declared, and over with its connections, was just a wrong answer; and to
    start servers takes more than all the rest of a run.
    """
    if _declared(item) is None or "process" in item.fixturenames:  # type: ignore[attr-defined]  # has them
        return True
    if isinstance(server, subject.Remote):
        return True
    deadline = time.monotonic() + CONNECTIONS_END_WITHIN
    while server.census().sockets:
        if time.monotonic() > deadline:
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def process(server: stacks.Running) -> stacks.Running:
    """The same server, for cases that look into its process tree."""
    return server


@pytest.fixture
def ending(lane: Lane) -> Iterator[stacks.Running]:
    """The same server, for cases that end it: the next case gets another one."""
    server = lane.server()
    assert isinstance(server, stacks.Running)
    yield server
    lane.end_server()


@pytest.fixture
def start(lane: Lane) -> Start:
    """Starts further servers of the stack: `with start() as server`, ready unless `ready=False`."""

    @contextmanager
    def start(
        *, port: int | None = None, ready: bool = True, environ: Mapping[str, str] = {}
    ) -> Iterator[stacks.Running]:
        environ = lane.environ | dict(environ)
        with stacks.serve(lane.stack, port=port, environ=environ) as running:
            if ready:
                running.wait_until_ready()
            yield running

    return start


@pytest.fixture
def upstream(lane: Lane) -> Upstream:
    """The model behind the lane's server, which says what the case has it say."""
    lane.upstream.forget()
    return lane.upstream


@pytest.fixture
def http(server: Address) -> Iterator[httpx.Client]:
    """A maintained HTTP client on the server, for cases that do not judge bytes."""
    base = f"http://{server.host}:{server.port}"
    # There is no TLS, and to load certificates takes longer than most cases.
    with httpx.Client(base_url=base, trust_env=False, timeout=15, verify=False) as client:
        yield client


# Which cases


# Seconds that a case takes which does not wait: a guess, that only puts them in order.
QUICK = 0.1
FAILED = pytest.StashKey[bool]()
NEEDS_PROCESS = {"process", "ending", "start", "upstream"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    stack = config.stash[STACK]
    chosen = [item for item in items if _is_chosen(item, stack)]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = _in_order(chosen, config.option.lanes)
    if config.option.lanes:
        make_tables()


def _in_order(items: list[pytest.Item], lanes: int) -> list[pytest.Item]:
    """Return the cases so mixed that at any time some lanes wait while others compute.

    What waits longest comes first, for lanes end together only if nothing long starts late.
    """
    ending = sorted(filter(_ends, items), key=_waits)
    others = [item for item in items if item not in ending]
    slow = sorted((i for i in others if _waits(i) or _starts(i)), key=_waits, reverse=True)
    quick = [item for item in others if item not in slow]
    rounds = zip_longest(batched(slow, 1), batched(quick, 3), fillvalue=())
    return _ended([item for both in rounds for item in chain(*both)], ending, lanes)


def _ended(cases: list[pytest.Item], ending: list[pytest.Item], lanes: int) -> list[pytest.Item]:
    """Put those that end a server where no lane needs another for what is left by then."""
    order: list[pytest.Item] = []
    left = 0.0
    for case in reversed(cases):
        while ending and _waits(ending[0]) * lanes <= left:
            order.append(ending.pop(0))
        order.append(case)
        left += _waits(case) + QUICK
    order += ending
    for item in filter(_ends, order):
        item.add_marker("last")
    return order[::-1]


def _ends(item: pytest.Item) -> bool:
    """Return whether a case ends the server that it is given."""
    return "ending" in getattr(item, "fixturenames", ())


def _starts(item: pytest.Item) -> bool:
    """Return whether a case starts servers of its own."""
    return "start" in getattr(item, "fixturenames", ())


def _waits(item: pytest.Item) -> float:
    """Return the seconds that a case may wait; one that is known to fail, for what never comes."""
    mark = item.get_closest_marker("waits")
    return max(mark.args[0] if mark else 0, PATIENCE if _declared(item) else 0)


def _is_chosen(item: pytest.Item, stack: stacks.Stack) -> bool:
    option = item.config.option
    group = _case_id(item).partition("/")[0]
    missing = item.get_closest_marker("lacking")
    extra = item.get_closest_marker("offering")
    return (
        (not option.only or group in option.only)
        and (option.slow or not item.get_closest_marker("slow"))
        and (missing is None or missing.args[0] in stack.lacks)
        and (extra is None or extra.args[0] in stack.offers)
    )


def _case_id(item: pytest.Item) -> str:
    return cases.case_id(item.path.stem, item.name)


def _declared(item: pytest.Item) -> stacks.Fault | None:
    """Return why a stack is known to fail a case, or None."""
    return item.config.stash[STACK].fails.get(_case_id(item))


def _not_applicable(item: pytest.Item) -> str | None:
    """Return why a case cannot be judged on this stack, or None."""
    stack = item.config.stash[STACK]
    for mark in item.iter_markers("needs"):
        if (fault := stack.lacks.get(mark.args[0])) is not None:
            return f"lacks {mark.args[0]}: {fault.reason} {fault.link}".strip()
    if stack.url is not None and NEEDS_PROCESS & set(getattr(item, "fixturenames", ())):
        return "needs the server's process, which --url does not give"
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Report a case that does not apply without running any of it."""
    reason = _not_applicable(item)
    if reason is None:
        return None
    # The case before has left what the two share, as their module. pytest has no public name for this.
    item.session._setupstate.teardown_exact(nextitem)
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    report = pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords={},
        outcome="skipped",
        longrepr=(str(item.path), 0, reason),
        when="call",
        user_properties=[_judgement(item, Outcome.LACKS, reason, 0.0)],
    )
    hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


# What each comes to


@pytest.fixture
def observe(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Record what an `observe` case saw."""
    return partial(request.node.stash.__setitem__, OBSERVED)


OBSERVED = pytest.StashKey[str]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, Unserved):
        report.user_properties.append((UNSERVED, str(error)))
        return report
    item.stash[FAILED] = error is not None
    if call.when == "call" or error is not None:
        outcome, message = judge(
            _level(item),
            _declared(item),
            error,
            when=call.when,
            observed=item.stash.get(OBSERVED, ""),
        )
        report.user_properties.append(_judgement(item, outcome, message, call.duration))
        _tell_pytest(report, item, outcome, message)
    return report


def _level(item: pytest.Item) -> Level:
    mark = item.get_closest_marker("case")
    return cases.CaseMark(*mark.args, **mark.kwargs).level if mark else Level.REQUIRED


def _judgement(
    item: pytest.Item, outcome: Outcome, message: str, seconds: float
) -> tuple[str, object]:
    case = results.Case(
        outcome=outcome.value,
        level=_level(item).value,
        message=message,
        seconds=round(seconds, 3),
    )
    return _case_id(item), dict(case)


def _tell_pytest(
    report: pytest.TestReport, item: pytest.Item, outcome: Outcome, message: str
) -> None:
    """Make pytest's own outcome, and with it the exit status, follow the judgement."""
    if results.is_red(outcome, _level(item)):
        report.outcome = "failed"
        report.longrepr = report.longrepr or message
    elif outcome is not Outcome.PASSED:
        report.outcome = "skipped"
        report.wasxfail = message
