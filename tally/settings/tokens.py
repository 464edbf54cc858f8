"""Bearer tokens that clients have to send."""

from __future__ import annotations

import re

from pydantic import SecretStr


def check_token(value: SecretStr | None) -> SecretStr | None:
    """Return the token, if there is one, as it is. Raises ValueError for one that guards nothing or cannot be sent."""
    # An empty one would look like a guard and be none; others do not come through a header, or a person, unharmed.
    if value is not None and not re.fullmatch("[!-~]+", value.get_secret_value()):
        raise ValueError("a token is one or more visible ASCII characters, without white space; for none, unset it")
    return value
