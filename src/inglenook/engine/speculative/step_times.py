"""What a decoding step takes, by its number of rows: measured while running, so that no machine has to be known."""

from __future__ import annotations

RISE, FALL = 0.2, 0.5  # weight of a measurement above the average, and below it: what delays a step says little
MAX_AGE = 512  # steps; a measurement of long ago (a shorter context, a busy neighbour) isn't believed
ROW_COST = 0.04  # share of a step that a row adds where nothing is known: low, so that it gets measured
NUM_PLAIN = 2  # measurements of a step without drafts, which all others are compared with


def moved(average: float, seconds: float) -> float:
    """The average after one more measurement."""
    rise = min(seconds, 2 * average) - average
    return average + rise * (RISE if rise > 0 else FALL)


class StepTimes:
    """Averages of the recent past."""

    def __init__(self, max_rows: int) -> None:
        self._seconds = [0.0] * (max_rows + 1)
        self._num_measured = [0] * (max_rows + 1)
        self._measured_at = [0] * (max_rows + 1)
        self._num_steps = 0

    def add(self, num_rows: int, seconds: float) -> None:
        self._num_steps += 1
        if num_rows >= len(self._seconds):
            return
        if self._is_known(num_rows):
            self._seconds[num_rows] = moved(self._seconds[num_rows], seconds)
            self._num_measured[num_rows] += 1
        else:
            self._seconds[num_rows] = seconds
            self._num_measured[num_rows] = 1
        self._measured_at[num_rows] = self._num_steps

    def estimates(self, first: int) -> list[float]:
        """Seconds of steps with `first`, first + 1, ... rows; none while `first` isn't known."""
        if not self._is_known(first) or self._num_measured[first] < NUM_PLAIN:
            return []
        times: list[float] = []
        for num_rows in range(first, len(self._seconds)):
            if self._is_known(num_rows):
                nearest, seconds = num_rows, self._seconds[num_rows]
            times.append(seconds * (1 + ROW_COST * (num_rows - nearest)))
        # More rows never take less: so what was measured bounds the guesses below it.
        for i in range(len(times) - 2, -1, -1):
            times[i] = min(times[i], times[i + 1])
        return times

    def _is_known(self, num_rows: int) -> bool:
        return self._num_measured[num_rows] > 0 and self._num_steps - self._measured_at[num_rows] < MAX_AGE
