"""What the benchmark reports: a figure, what it is a share of, and what it should reach."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace

from inglenook.ops.probes import Limits

STEADINESS = 0.1  # a limit that differs by more before and after a work makes its share doubtful


@dataclass(frozen=True)
class Target:
    """What a row's share should be: at least (or at most) this much."""

    share: float
    is_upper: bool = False
    of_isa: str | None = None  # a share of the same work's row with that instruction set, not of the row's own limit

    def is_met(self, share: float) -> bool:
        return share <= self.share if self.is_upper else share >= self.share

    def __str__(self) -> str:
        return f"{'<=' if self.is_upper else '>='} {self.share:.0%}"


@dataclass(frozen=True)
class Figure:
    """What a workload measured: one value for each run, and the value that counts as 100 %.

    `limit` is asked when the limits of the machine are final. `of` names it in one or two words: "limit" for what the
    machine allows, otherwise what this figure is compared with ("first turn", "quiet").
    """

    values: tuple[float, ...]
    unit: str
    limit: Callable[[Limits], float]
    of: str = "limit"


@dataclass(frozen=True)
class Row:
    """One line: `value` is the median of `runs` values, `share` is value / limit (None: not known in this run).

    `limits` are what the machine allowed meanwhile; not steady where those before and after give different shares.
    """

    model: str
    format: str
    isa: str
    work: str
    value: float
    unit: str
    runs: int
    lowest: float
    highest: float
    share: float | None
    of: str
    limits: Limits
    is_steady: bool = True
    target: Target | None = None

    @property
    def is_met(self) -> bool | None:
        """None where there is no target, or nothing to compare with."""
        return None if self.target is None or self.share is None else self.target.is_met(self.share)


def make_row(
    names: tuple[str, str, str, str], figure: Figure, before: Limits, after: Limits, target: Target | None
) -> Row:
    """`names` are the model, the format of its weights, the instruction set and the work."""
    limits = larger(before, after)
    values = figure.values
    value = statistics.median(values)
    share = value / figure.limit(limits)
    low, high = sorted((figure.limit(before), figure.limit(after)))
    is_steady = low >= (1 - STEADINESS) * high
    return Row(
        *names, value, figure.unit, len(values), min(values), max(values), share, figure.of, limits, is_steady, target
    )


def larger(one: Limits, other: Limits) -> Limits:
    """Each limit at its best."""
    others = asdict(other)
    return Limits(**{name: max(value, others[name]) for name, value in asdict(one).items()})


def against_other_isa(row: Row, others: Iterable[Row]) -> Row:
    """The row with the share that its target speaks of: of the same model's and work's row with another isa."""
    if row.target is None or row.target.of_isa is None:
        return row
    isa = row.target.of_isa
    found = [o for o in others if (o.model, o.isa, o.work) == (row.model, isa, row.work)]
    return replace(row, of=isa, share=row.value / found[-1].value if found else None)
