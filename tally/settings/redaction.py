"""What of a setting may be shown: no password."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

#: What the name of a URL's option has in it whose value is a secret, as password and ssl_password.
_SECRET_OPTION = re.compile("pass|pw|secret|token|auth", re.IGNORECASE)


def without_password(url: str) -> str:
    """Return the URL as it may be shown, also when it lacks its scheme."""
    base, mark, query = url.partition("?")
    if "@" in query:  # with these two as they are in a password, its end cannot be told
        return re.sub(r"^([\w+]+://)?.*", r"\1***", url, count=1, flags=re.DOTALL)
    base = re.sub(r"^([\w+]+://|(?![\w+]+://))([^:@/]*):.*@", r"\1\2:***@", base, flags=re.DOTALL)
    return base + mark + "&".join(map(_shown_option, query.split("&")))


def _shown_option(option: str) -> str:
    name, mark, _ = option.partition("=")
    return f"{name}=***" if mark and _SECRET_OPTION.search(unquote_plus(name)) else option
