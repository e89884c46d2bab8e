"""Options of the live pages' frame."""

from __future__ import annotations

from dataclasses import dataclass, fields

from django.core.exceptions import ImproperlyConfigured

from performance.core.conf import load


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardConf:
    """The options of `PERFORMANCE["DASHBOARD"]`. Times are in seconds; all are above 0."""

    confirm_after_s: int = 15 * 60
    """A dangerous act asks for the password when log-in or the last confirmation is older."""
    acts_per_minute: int = 30
    """Acts that one person may try in a minute, denied ones included."""
    wrong_passwords: int = 5
    """Wrong passwords in `wrong_password_window_s` before confirming is refused."""
    wrong_password_window_s: int = 15 * 60
    wrong_logins: int = 10
    """Failed log-ins in `wrong_password_window_s`, for one name from one address."""
    recheck_s: int = 45
    """How often an open socket's session and permission are looked at without being told to."""
    sockets_per_user: int = 40
    """Live pages that one person may have open on one node."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or value < 1:
                raise ImproperlyConfigured(
                    f"PERFORMANCE['DASHBOARD'][{field.name!r}] is {value!r}; "
                    "it must be a whole number from 1 up."
                )


def conf() -> DashboardConf:
    return load(DashboardConf, "DASHBOARD")
