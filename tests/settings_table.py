"""The README's table of settings, made of the settings: `python -m tests.settings_table` writes it anew."""

from __future__ import annotations

import re
from pathlib import Path

from tally.settings import PREFIX, Settings

README = Path(__file__).parents[1] / "README.md"

_HEAD = "| variable | default | what it is |\n| --- | --- | --- |\n"


def settings_table() -> str:
    """A Markdown table with a row for each setting."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, "") else f"`{str(field.default).replace('|', chr(92) + '|')}`"
        description = (field.description or "").replace("|", "\\|")
        rows.append(f"| `{PREFIX}{name.upper()}` | {default} | {description} |\n")
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    text = re.sub(r"\| variable \|.*?\n(?=\n)", lambda _: settings_table(), text, count=1, flags=re.DOTALL)
    README.write_text(text, encoding="utf-8")
