"""What a decoding step takes, by its number of rows: measured while running, so that no machine has to be known."""

from __future__ import annotations

WEIGHT = 0.2  # of a new measurement
MAX_AGE = 512  # steps; a measurement of long ago (a shorter context, a busy neighbour) isn't believed
ROW_COST = 0.04  # share of a step that a row adds where nothing is known: low, so that it gets measured


class StepTimes:
    """Averages of the recent past."""

    def __init__(self, max_rows: int) -> None:
        self._seconds = [0.0] * (max_rows + 1)
        self._measured_at = [-MAX_AGE] * (max_rows + 1)
        self._num_steps = 0

    def add(self, num_rows: int, seconds: float) -> None:
        self._num_steps += 1
        if num_rows >= len(self._seconds):
            return
        if self._is_known(num_rows):
            average = self._seconds[num_rows]
            self._seconds[num_rows] += WEIGHT * (min(seconds, 2 * average) - average)  # a hiccup counts as two steps
        else:
            self._seconds[num_rows] = seconds
        self._measured_at[num_rows] = self._num_steps

    def estimates(self, first: int) -> list[float]:
        """Seconds of steps with `first`, first + 1, ... rows; relative to one another where none is known."""
        known = first if self._is_known(first) else self._nearest_below(first)
        nearest, seconds = known, self._seconds[known] if known else 1.0
        times = []
        for num_rows in range(first, len(self._seconds)):
            if self._is_known(num_rows):
                nearest, seconds = num_rows, self._seconds[num_rows]
                times.append(seconds)
            else:
                times.append(seconds * (1 + ROW_COST * (num_rows - nearest)))
        # More rows never take less: so what was measured bounds the guesses below it.
        for i in range(len(times) - 2, -1, -1):
            times[i] = min(times[i], times[i + 1])
        return times

    def _is_known(self, num_rows: int) -> bool:
        return self._num_steps - self._measured_at[num_rows] < MAX_AGE

    def _nearest_below(self, num_rows: int) -> int:
        return next((n for n in range(num_rows - 1, 0, -1) if self._is_known(n)), 0)
