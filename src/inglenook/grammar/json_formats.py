"""The formats of strings that are enforced."""

from __future__ import annotations

_YEAR, _LEAP_YEAR = "[0-9]{4}", "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
_DATE = (
    f"({_YEAR}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
    f"|{_LEAP_YEAR}-02-29)"
)
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"

# Formats as patterns, where llguidance's own takes what isn't one (29 February in any year) or has none.
FORMAT_PATTERNS = {
    "date": f"^{_DATE}$",
    "time": f"^{_TIME}$",
    "date-time": f"^{_DATE}T{_TIME}$",
    "byte": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
    "json-pointer": "^(/([^~/]|~[01])*)*$",
}
FORMATS = frozenset(("duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid", *FORMAT_PATTERNS))
ANNOTATING_FORMATS = frozenset(("password", "binary"))  # how a form shows it; any string is right
