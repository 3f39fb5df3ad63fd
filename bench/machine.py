"""What a run runs on, and with."""

from __future__ import annotations

import platform
import re
from importlib.metadata import version
from pathlib import Path

import psutil

from bench import generator, processes
from bench.figures import Machine

GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
CPUINFO = Path("/proc/cpuinfo")


def machine() -> Machine:
    """Describe this machine; its name is short and fit for a folder."""
    cores = psutil.cpu_count() or 1
    name = f"{platform.system()} {processor()} {cores} cores"
    server, generator = processes.cores()
    return Machine(
        name=re.sub("[^a-z0-9]+", "-", name.lower()).strip("-"),
        processor=processor(),
        cores=cores,
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.machine()}",
        kernel=platform.release(),
        governor=GOVERNOR.read_text().strip() if GOVERNOR.exists() else "unknown",
        server_cores=sorted(server),
        generator_cores=sorted(generator),
    )


def processor() -> str:
    """Return the processor's model, or its architecture where the system tells no more."""
    told = CPUINFO.read_text() if CPUINFO.exists() else ""
    found = re.search(r"^model name\s*: (.+)$", told, re.MULTILINE)
    return found.group(1) if found else platform.processor() or platform.machine()


def tools() -> dict[str, str]:
    """Return the versions of what measures."""
    packages = {name: version(name) for name in ("picows", "scipy", "uvloop")}
    return {"python": platform.python_version(), **packages, **generator.versions()}
