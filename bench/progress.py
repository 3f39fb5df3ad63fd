"""How far a run is, and how long it still takes."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich import progress
from rich.console import Console


class Progress:
    """A bar on standard error with the time left; steps are expected before they are taken."""

    def __init__(self) -> None:
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TimeRemainingColumn(elapsed_when_finished=True),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("", total=0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def expect(self, steps: float) -> None:
        self._bar.update(self._task, total=(self._bar.tasks[0].total or 0) + steps)

    def tell(self, what: str) -> None:
        self._bar.update(self._task, description=what)

    def step(self, steps: float = 1) -> None:
        self._bar.advance(self._task, steps)
