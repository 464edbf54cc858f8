"""`tally layout`: how the events in Redis were counted, and what of it is set otherwise here."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from tally.cli.asking import server_at_rest, with_shards
from tally.layout import Layout, shown
from tally.printing import printable
from tally.runtime import load_or_exit
from tally.settings import PREFIX, Settings
from tally.shards import slot_of
from tally.store.acceptances import Acceptances
from tally.store.layouts import LayoutStore
from tally.store.shards import Shards
from tally.telemetry import configure


def layout(
    accept: Annotated[
        bool, typer.Option("--accept", help="From now on count with the settings that are set here.")
    ] = False,
    drop: Annotated[
        bool, typer.Option("--drop", help="Forget windows of lengths that are no longer counted, to free memory.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show how the events in Redis were counted: windows, fields, words; and what of it is set otherwise here.

    Aggregators with other settings are refused, because answers about both would be wrong. With `--accept` the settings
    that are set here hold from then on; what was counted stays as it is.
    """
    settings = load_or_exit(log_level="warning")
    configure(settings, service="layout")
    with server_at_rest(settings) as settings:
        typer.echo(
            with_shards(
                settings,
                lambda shards: look(shards, settings, accept=accept, drop=drop, as_json=as_json),
                writes=accept or drop,
            )
        )


async def look(shards: Shards, settings: Settings, *, accept: bool, drop: bool, as_json: bool) -> str:
    """Accept or drop, if that is asked for, and return what there is then, as text or as JSON.

    Raises StoreUnavailable, and LayoutRefused for a format that this program does not know.
    """
    here = Layout.of(settings)
    acceptance = Acceptances(shards, settings=settings)
    accepted = await acceptance.accept() if accept else []
    dropped = await acceptance.drop_leftovers() if drop else {}
    stored = await LayoutStore(shards.home.redis, keys=shards.home.keys, settings=settings).read()
    differences = stored.differences(here)
    found: dict[str, Any] = {
        "shards": [{"tag": shard.keys.tag, "slot": slot_of(shard.keys.tag)} for shard in shards],
        "stored": dict(stored.fields) or None,
        "here": dict(here.fields),
        "differences": [asdict(each) for each in differences],
        "history": [asdict(each) for each in await acceptance.history()],
        "leftovers": await acceptance.leftovers(),
        "accepted": [asdict(each) for each in accepted],
        "dropped": dropped,
    }
    return json.dumps(found) if as_json else "\n".join(_text(found, stored, here))


def _text(found: dict[str, Any], stored: Layout, here: Layout) -> list[str]:
    lines = []
    if not stored.whole:
        lines.append("Nothing is stored yet: the first aggregator stores what is set where it runs. Here that is")
    else:
        since = f", since {_moment(int(stored.fields['since']))}" if stored.fields.get("since", "").isdecimal() else ""
        lines.append(f"How events are counted (format {stored.fields['format']}{since}):")
    layout = stored if stored.whole else here
    lines += [f"  {PREFIX}{name.upper()}={printable(layout.fields[name])}" for name in layout.settings]
    is_spread_otherwise = bool(stored.spread_differences(here))
    if len(found["shards"]) > 1 and not is_spread_otherwise:
        each_one = ", ".join(f"{{{shard['tag']}}} in {shard['slot']}" for shard in found["shards"])
        lines += [f"The hash tags of its shards, and the slots of a Redis Cluster in which they are: {each_one}"]
    if is_spread_otherwise:
        lines += ["Set otherwise here; whatever has these settings is refused:"]
        lines += [f"  {each['variable']} = {each['here']}" for each in found["differences"]]
        lines += [
            "That cannot be accepted, or lines would be counted twice: set it as it was, or export it and import that."
        ]
    elif found["differences"]:
        lines += ["Set otherwise here; an aggregator with these settings is refused:"]
        lines += [f"  {each['variable']} = {each['here']}" for each in found["differences"]]
        lines += ["With `tally layout --accept` these hold from then on."]
    for each in found["accepted"]:
        lines.append(f"Accepted: {each['variable']} was {each['stored']}, and from now on it is {each['here']}.")
    if found["accepted"]:
        lines.append("Aggregators with other settings end; start them again with these.")
    for seconds, windows in found["dropped"].items():
        lines.append(f"Dropped: {windows:,} windows of {seconds} s.")
    for seconds, windows in found["leftovers"].items():
        lines.append(
            f"{windows:,} windows of {seconds} s are of no more use; `tally layout --drop` frees their memory."
        )
    if found["history"]:
        lines.append("Accepted before, the newest first:")
    for change in found["history"]:
        for name, (before, after) in change["changes"].items():
            was, became = shown(name, {name: before}), shown(name, {name: after})
            lines.append(f"  {_moment(change['at'])}  {PREFIX}{name.upper()}: {was} -> {became}")
    return lines


def _moment(unix_seconds: int) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
