"""The load itself: Locust's users against the reference, from one process and from three."""

from __future__ import annotations

import asyncio
import csv
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]  # has no types
import pytest
import yaml

import stacks
from bench.model import Model
from tests.mutants import SOURCES

LOCUST = (sys.executable, "-m", "locust", "--locustfile", "bench/locustfile.py")
BRIEFLY = ("--headless", "--users", "10", "--spawn-rate", "10", "--run-time", "15s")
STATISTICS = {
    *("/", "/ws, open", "/ws, echo", "/sse", "/sse, first event", "/sse, gap"),
    *("/v1/chat/completions", "/v1/chat, first event", "/v1/chat, gap"),
}


@pytest.fixture(scope="module")
def model() -> Iterator[str]:
    """The URL of a model that answers everybody at once."""
    port, ready = stacks.free_port(), threading.Event()
    runner = asyncio.Runner()
    loop = runner.get_loop()
    server = runner.run(loop.create_server(Model, stacks.HOST, port))
    loop.call_soon(ready.set)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    ready.wait()
    yield f"http://{stacks.HOST}:{port}/v1"
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    runner.close()


@pytest.fixture
def url(tmp_path: Path, model: str) -> Iterator[str]:
    """The URL of the reference."""
    for file, path in SOURCES.items():
        (tmp_path / file).write_text(path.read_text())
    command = (sys.executable, "server.py", "--host", "{host}", "--port", "{port}")
    stack = stacks.Stack("asgi", "small", "ASGI", "ASGI", command, folder=tmp_path)
    with stacks.serve(stack, environ={"UPSTREAM_BASE_URL": model}) as running:
        running.wait_until_ready()
        yield running.url


def rows(path: Path) -> dict[str, dict[str, str]]:
    """Return what Locust counted, by name."""
    with path.open() as file:
        return {row["Name"]: row for row in csv.DictReader(file)}


def test_one_process(tmp_path: Path, url: str) -> None:
    """Every user gets right answers, and first events and gaps are statistics of their own."""
    done = subprocess.run(
        [*LOCUST, *BRIEFLY, "--host", url, "--csv", str(tmp_path / "told")],
        cwd=stacks.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    told = rows(tmp_path / "told_stats.csv")
    assert told.keys() == {*STATISTICS, "Aggregated"}
    assert {row["Failure Count"] for row in told.values()} == {"0"}
    # The second token is due 50 ms behind the first, which a buffering reader would not see.
    assert 40 < float(told["/sse, gap"]["Median Response Time"]) < 500


def test_wrong_answers_fail(url: str, tmp_path: Path) -> None:
    """What is no answer of the contract is a failure, and the exit status tells."""
    done = subprocess.run(
        [*LOCUST, *BRIEFLY, "--host", f"{url}/nowhere", "HelloUser"],
        cwd=stacks.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1, done.stdout + done.stderr


def test_a_master_and_two_workers(tmp_path: Path, url: str) -> None:
    """Load is distributed as Locust does it, and the master's statistics are of all workers."""
    port = str(stacks.free_port())
    master = [*LOCUST, *BRIEFLY, "--host", url, "--csv", str(tmp_path / "told"), "--master"]
    master += ["--expect-workers", "2", "--master-bind-host", stacks.HOST]
    master += ["--master-bind-port", port]
    worker = [*LOCUST, "--worker", "--master-host", stacks.HOST, "--master-port", port]
    with (tmp_path / "log").open("w") as log:
        processes = [
            subprocess.Popen(command, cwd=stacks.ROOT, stdout=log, stderr=log)
            for command in (master, worker, worker)
        ]
        try:
            statuses = [process.wait(150) for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
    log_text = (tmp_path / "log").read_text()

    assert statuses == [0, 0, 0], log_text
    assert rows(tmp_path / "told_stats.csv").keys() == {*STATISTICS, "Aggregated"}
    assert re.search("2 workers connected|Workers: 2|worker.*2.*connected", log_text), log_text


def test_manifest_is_valid() -> None:
    """Each object of the example is what Kubernetes' own schema asks for, with no unknown field."""
    objects = list(yaml.safe_load_all((stacks.ROOT / "bench/load.yaml").read_text()))

    assert [each["kind"] for each in objects] == ["Service", "Job", "Deployment"]
    for each in objects:
        kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)


def test_manifest_runs_the_locked_release() -> None:
    """The image is of the Locust that was tried here, and both ends speak of the same master."""
    lock = (stacks.ROOT / "requirements/load.txt").read_text()
    manifest = (stacks.ROOT / "bench/load.yaml").read_text()
    locked = re.search(r"^locust==(\S+)", lock, re.MULTILINE)

    assert locked is not None
    assert set(re.findall(r"image: (\S+)", manifest)) == {f"locustio/locust:{locked.group(1)}"}
    assert "--master-host=samewire-load-master" in manifest


def test_manifest_names_what_exists() -> None:
    """The worker finds the master by its service, which finds it by its label; the file is mounted."""
    service, job, workers = yaml.safe_load_all((stacks.ROOT / "bench/load.yaml").read_text())
    labels = job["spec"]["template"]["metadata"]["labels"]

    assert service["spec"]["selector"] == labels
    assert service["spec"]["ports"][0]["port"] == 5557
    expected = f"--expect-workers={workers['spec']['replicas']}"
    assert expected in job["spec"]["template"]["spec"]["containers"][0]["args"]
