"""How a fetch tells what it does; whoever has a terminal draws it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """`start` ... `advance` ... `finish` around each transfer; `note` at any time. Numbers are bytes."""

    def start(self, description: str, total: int | None) -> None: ...

    def advance(self, num_bytes: int) -> None: ...

    def finish(self) -> None: ...

    def note(self, text: str) -> None: ...


class SilentProgress:
    """For a caller that shows nothing."""

    def start(self, description: str, total: int | None) -> None:
        pass

    def advance(self, num_bytes: int) -> None:
        pass

    def finish(self) -> None:
        pass

    def note(self, text: str) -> None:
        pass
