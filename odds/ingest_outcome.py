"""What became of the quotes of one batch, or of some of them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The first five add up to the number of quotes."""

    inserted: int = 0
    changed: int = 0
    withdrawn: int = 0
    unchanged: int = 0
    late: int = 0
    touched: dict[int, set[str]] = field(default_factory=dict)
    """Event id: the markets with a move."""
    changes: str | None = "[]"
    """What moved, as JSON; None when that is too much to tell."""

    def __add__(self, other: Outcome) -> Outcome:
        """Return both, of different quotes; what changed is then too much to tell."""
        touched = {event: set(markets) for event, markets in self.touched.items()}
        for event, markets in other.touched.items():
            touched.setdefault(event, set()).update(markets)
        return Outcome(
            inserted=self.inserted + other.inserted,
            changed=self.changed + other.changed,
            withdrawn=self.withdrawn + other.withdrawn,
            unchanged=self.unchanged + other.unchanged,
            late=self.late + other.late,
            touched=touched,
            changes=None,
        )


NOTHING = Outcome()
