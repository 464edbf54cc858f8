"""Several sources in one process: named in one setting, each failing and coming back by itself, each shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ingestor import progress
from ingestor.progress import LOG_SECONDS, Measure, ProgressDisplay
from ingestor.service import Restarter
from ingestor.sources import Context
from tally.backoff import Backoff
from tally.runtime import Failure
from tally.settings import Settings
from tally.sources import split_sources
from tests.fakes import FakeClock


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("demo:", ["demo:"]),
        ("", [""]),
        ('["demo:"]', ["demo:"]),
        (' [ "tail:/a b.log" ,\n "-"]', ["tail:/a b.log", "-"]),
        ("[a-c]*.log", ["[a-c]*.log"]),
        ("[0-9]", ["[0-9]"]),
        ('exec:jq -c "[.]"', ['exec:jq -c "[.]"']),
    ],
)
def test_a_setting_names_one_source_or_several(text: str, sources: list[str]) -> None:
    assert split_sources(text) == sources


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "names no source; several sources are a JSON array"),
        ('["a", ""]', 'number 2 is ""; several sources are'),
        ('["a", 5]', "number 2 is 5; several"),
        ('[["a"]]', r'number 1 is \["a"\]; several'),
        ('["a" "b"]', "TALLY_SOURCE=.* not JSON: Expecting ',' delimiter.*as in"),
        ('["a"', "not JSON"),
    ],
)
def test_what_is_wrong_with_an_array_of_sources_is_said(text: str, problem: str) -> None:
    with pytest.raises(Failure, match=problem):
        split_sources(text)


class Scripted:
    """A runner that fails as it is told, then runs until it is let go."""

    is_early = False

    def __init__(self, label: str, *errors: Exception) -> None:
        self.label = label
        self.errors = list(errors)
        self.runs = 0
        self.runs_well = asyncio.Event()
        self.may_end = asyncio.Event()

    async def run(self, context: Context) -> None:
        self.runs += 1
        if self.errors:
            raise self.errors.pop(0)
        self.runs_well.set()
        await self.may_end.wait()


def restarter(*sources: Scripted) -> Restarter:
    store: Any = None
    ready = asyncio.Event()
    ready.set()
    return Restarter(
        Context(store=store, settings=Settings(), stop=asyncio.Event(), ready=ready),
        sources=sources,
        new_backoff=lambda: Backoff(most_seconds=0.01),
    )


@pytest.mark.parametrize("steady_first", [True, False])
async def test_a_source_that_fails_is_tried_again_while_another_one_runs(steady_first: bool) -> None:
    steady, failing = Scripted("steady"), Scripted("failing", Failure("taken"), KeyError("a defect"))
    sources = (steady, failing) if steady_first else (failing, steady)
    runs = restarter(*sources)
    running = [asyncio.ensure_future(runs.run(each)) for each in sources]
    await asyncio.wait_for(failing.runs_well.wait(), 10)
    assert (steady.runs, failing.runs) == (1, 3)
    steady.may_end.set()
    failing.may_end.set()
    await asyncio.gather(*running)


async def test_a_source_that_fails_is_given_up_when_no_other_one_runs() -> None:
    steady, failing = Scripted("steady"), Scripted("failing", *[Failure("taken")] * 1_000_000)
    runs = restarter(steady, failing)
    running = [asyncio.ensure_future(runs.run(each)) for each in (steady, failing)]
    await steady.runs_well.wait()
    steady.may_end.set()
    with pytest.raises(Failure, match="taken"):
        await asyncio.wait_for(running[1], 10)
    await running[0]


@pytest.mark.parametrize(
    ("error", "said"), [(Failure("gone"), "^gone$"), (KeyError("x"), "^KeyError: 'x'; see the log$")]
)
async def test_a_source_that_is_alone_fails_at_once(error: Exception, said: str) -> None:
    source = Scripted("alone", error)
    with pytest.raises(Failure, match=said):
        await restarter(source).run(source)
    assert source.runs == 1


async def test_the_log_tells_now_and_then_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, Any]] = []
    told = asyncio.Event()

    class Log:
        def info(self, event: str, **fields: Any) -> None:
            said.append({"event": event, **fields})
            told.set()

    log: Callable[[], Any] = Log
    monkeypatch.setattr(progress, "get_logger", log)
    clock = FakeClock()
    shown = ProgressDisplay(clock=clock)
    with shown.show("events.gz", lambda: Measure(25, 100, 7, 700)):
        showing = asyncio.ensure_future(shown.run(Settings()))
        while not clock.sleeping:
            await asyncio.sleep(0)
        clock.now += LOG_SECONDS
        await asyncio.wait_for(told.wait(), 10)
        showing.cancel()
    assert said == [
        {
            "event": "reading",
            "source": "events.gz",
            "share": 0.25,
            "lines": 7,
            "bytes": 700,
            "bytes_a_second": 70,
        }
    ]


def test_an_empty_file_is_read_as_soon_as_it_is_opened() -> None:
    assert Measure(0, 0, 0, 0).share == 1.0
