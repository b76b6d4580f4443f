"""Calendar of the world. Today is a fixed date, so no result depends on a clock."""

from datetime import date, timedelta

TODAY = date(2031, 5, 12)
HORIZON = 30  # days ahead for which the world schedules trips, events and weather
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def day(offset: int) -> str:
    """Return the ISO date `offset` days from today."""
    return (TODAY + timedelta(days=offset)).isoformat()


def offset_of(iso: str) -> int:
    """Return the days from today to an ISO date; negative for the past. Raises `ValueError` for an invalid date."""
    return (date.fromisoformat(iso) - TODAY).days


def weekday(iso: str) -> str:
    """Return the English name of a date's day of the week."""
    return WEEKDAYS[date.fromisoformat(iso).weekday()]


def clock(minutes: int) -> str:
    """Return minutes after midnight as `HH:MM`, modulo one day."""
    return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"
