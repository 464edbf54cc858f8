"""Every Redis key that Tally uses. No key is spelled anywhere else.

| key                              | type       | holds                                                            |
| -------------------------------- | ---------- | ---------------------------------------------------------------- |
| `NAMESPACE:{S}:stream`           | stream     | one entry a block: `lines`, raw bytes with `\\n` between lines;  |
|                                  |            | `source`, the name of where they came from; `appended_ms`, when  |
|                                  |            | they were appended, in Unix milliseconds (both may be missing)   |
| `NAMESPACE:{S}:backlog`          | hash       | `blocks` and `bytes` that wait to be counted, of those that were |
|                                  |            | appended; `gone`, how many entries have left the stream for a    |
|                                  |            | known reason; what is settled and not yet applied; more in       |
|                                  |            | store/scripts/backlog_library.lua                                |
| `NAMESPACE:{S}:deltas`           | list       | batches that have left the stream and are not yet all in the     |
|                                  |            | hashes, the oldest first; JSON, see store/scripts/settle.lua     |
| `NAMESPACE:{S}:deltas:NAME`      | list       | the chunks of one of them, two elements each: where its counts   |
|                                  |            | go, and the counts; see tally/deltas.py. It expires until it is  |
|                                  |            | one of `deltas`                                                  |
| `NAMESPACE:{S}:sources`          | hash       | source name -> position in bytes                                 |
| `NAMESPACE:{S}:sources:seen`     | sorted set | source name, scored by its last append, or renewal while it is   |
|                                  |            | open, in Unix milliseconds                                       |
| `NAMESPACE:{S}:sources:last`     | hash       | source name -> `POSITION:LENGTH-DIGEST`, the fingerprint of the  |
|                                  |            | bytes before its position, of a replayable source                |
| `NAMESPACE:{S}:sources:names`    | sorted set | source names in their order, to look them up by their beginning; |
|                                  |            | not those of files that their content alone makes again. With an |
|                                  |            | empty name once all that are stored are in it                    |
| `NAMESPACE:{S}:sources:before`   | hash       | source name -> how far it was under layouts of before, JSON, see |
|                                  |            | tally/vectors.py; in the shard of its first stripe alone, and    |
|                                  |            | only of sources that were imported                               |
| `NAMESPACE:{S}:sources:lines`    | hash       | what a source is called, see tally/sources.py -> lines counted   |
| `NAMESPACE:{S}:sources:rejected` | hash       | the same -> lines rejected, of those                             |
| `NAMESPACE:{S}:sources:newest`   | hash       | the same -> when the newest of them was appended, in Unix        |
|                                  |            | milliseconds                                                     |
| `NAMESPACE:{S}:types`            | hash       | event type -> count                                              |
| `NAMESPACE:{S}:words`            | hash       | word -> count                                                    |
| `NAMESPACE:{S}:words@N`          | hash       | word -> count, of the events of the type with the number N       |
| `NAMESPACE:{S}:types:numbers`    | hash       | event type -> `NUMBER:SINCE`, of those whose words are counted   |
|                                  |            | apart, and since when, in Unix seconds                           |
| `NAMESPACE:{S}:types:numbered`   | string     | how many such numbers were ever given; none is given twice       |
| `NAMESPACE:{S}:types:retired`    | sorted set | numbers that no type has any more, and of which some hash may be |
|                                  |            | left; scored by themselves                                       |
| `NAMESPACE:{S}:top`              | sorted set | the most frequent words of all time, exact                       |
| `NAMESPACE:{S}:totals`           | hash       | `events`, `words`, `rejected`, `padded`, `lost`, `lines`,        |
|                                  |            | `bytes`, `blocks`; `rejected:REASON`, see tally/rejections.py    |
| `NAMESPACE:{S}:windows:L`        | sorted set | starts of the windows of length L that are kept                  |
| `NAMESPACE:{S}:rolled:L`         | sorted set | of format 1, deleted when another layout is accepted             |
| `NAMESPACE:{S}:dropped`          | sorted set | likewise                                                         |
| `NAMESPACE:{S}:floors`           | sorted set | L, scored by the start of the oldest window of that length that  |
|                                  |            | still gets counts; it only rises                                 |
| `NAMESPACE:{S}:folds`            | hash       | start of a window of the longest length -> number of the last    |
|                                  |            | fold of a shorter one inside it; and `number`, of the last one   |
| `NAMESPACE:{S}:folding:L`        | sorted set | starts of windows of a length that holds no counts of its own any |
|                                  |            | more, since another layout was accepted: they are to be folded   |
| `NAMESPACE:{S}:leftovers:L`      | sorted set | starts of windows that no answer has any more, since then        |
| `NAMESPACE:{S}:types:L:START`    | hash       | event type -> count, of one window                               |
| `NAMESPACE:{S}:words:L:START`    | hash       | word -> count, of one window                                     |
| `NAMESPACE:{S}:words@N:L:START`  | hash       | likewise, of the events of one type                              |
| `NAMESPACE:{S}:rejected`         | stream     | samples: `line` (its first KiB), `reason`, `source`,             |
|                                  |            | `rejected_ms`, when that was, in Unix milliseconds               |
| `NAMESPACE:{S}:accepted`         | stream     | samples of lines that were counted, if any are kept: `line`,     |
|                                  |            | `source`, `accepted_ms`; it expires a day after the last one     |
| `NAMESPACE:{S}:dead-letters`     | stream     | whole blocks that ended every aggregator that tried them, and    |
|                                  |            | whole chunks that cannot be read; see                            |
|                                  |            | store/scripts/dead_letter.lua and store/scripts/apply.lua        |
| `NAMESPACE:{S}:once:new`         | hash       | hash of an `Idempotency-Key` -> hash of its body; and since when |
|                                  |            | keys are put here, under the empty one, in Unix milliseconds     |
| `NAMESPACE:{S}:once:old`         | hash       | what was `once:new` before that; gone after a day or two         |
| `NAMESPACE:{S}:once:own:new`     | hash       | the same of keys that ingestors make, for a body without one     |
| `NAMESPACE:{S}:once:own:old`     | hash       | what was that before; gone after a minute or two                 |
| `NAMESPACE:{S}:layout`           | hash       | how it was counted: `format`, `windows`, what makes fields and   |
|                                  |            | words, `digest` of these, `since`; see tally/layout.py. That of   |
|                                  |            | tag 0 is there however many shards there are                     |
| `NAMESPACE:{S}:layout:history`   | list       | what became of it: JSON with `at`, `changes`, the newest first   |
| `NAMESPACE:{S}:imports`          | hash       | ID of an export -> the line of it up to which the shard has all  |
|                                  |            | that is its own; or `done:UNIX`, when that was; see              |
|                                  |            | store/scripts/imports_library.lua                                |
| `NAMESPACE:{S}:rewritten`        | string     | `run_id` of the server's last start after which its append-only  |
|                                  |            | file was rewritten                                               |
| `NAMESPACE:{S}:purging`          | stream     | samples or dead letters that are written anew without some, see  |
|                                  |            | store/scripts/purge_stream.lua                                   |
| `NAMESPACE:{S}:probe`            | string     | written by the readiness check, gone after a second              |
| `NAMESPACE:{S}:absent`           | none       | never there; named by every script that writes, see              |
|                                  |            | store/scripts/layout_library.lua                                 |

`NAMESPACE` is the setting TALLY_NAMESPACE, `tally` by default: pipelines with other ones share a Redis and no key.
`S` is the tag of the shard, a number; which shard has which is in tally/shards.py. The braces make it the hash tag, so
that all keys of a shard share a Redis Cluster slot.

This module is over 300 lines long for the sake of that list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NewType, get_args

from tally.shards import HOME_TAG

#: What is counted by name, as it is asked for.
Kind = Literal["types", "words"]

#: All of them.
KINDS: tuple[Kind, ...] = get_args(Kind)

#: Where it is counted: of each table there is a hash of all time, and one a window. There is one of each kind, and one
#: of the words of each type that has a number.
Table = NewType("Table", str)

TYPES, WORDS = Table("types"), Table("words")

#: Of these there is a hash of all time alone: lines by source, and when the newest of them was appended, of which the
#: largest is kept rather than the sum.
SOURCE_LINES, SOURCE_REJECTED = Table("sources:lines"), Table("sources:rejected")
SOURCE_NEWEST = Table("sources:newest")
SOURCE_TABLES = (SOURCE_LINES, SOURCE_REJECTED, SOURCE_NEWEST)

_WORDS_OF = re.compile(r"words@([1-9][0-9]{0,8})", re.ASCII)

#: The first part of every key, unless TALLY_NAMESPACE says another.
DEFAULT_NAMESPACE = "tally"

#: What a namespace may be: nothing that a pattern of SCAN or a rule of an ACL takes for more than itself.
NAMESPACE_PATTERN = re.compile(r"[a-z0-9_-]{1,32}", re.ASCII)

#: The consumer group of the aggregators.
GROUP = "aggregators"

#: Where counts go whose name is over a bound: too long, or one too many.
OTHER = "__other__"

#: How many words the sorted set of top words holds.
TOP_WORDS = 1000


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one shard, by its tag and its namespace: of the only one, unless another is given."""

    tag: int = HOME_TAG
    namespace: str = DEFAULT_NAMESPACE

    def _key(self, *parts: str | int) -> str:
        return ":".join((f"{self.namespace}:{{{self.tag}}}", *map(str, parts)))

    @property
    def stream(self) -> str:
        return self._key("stream")

    @property
    def backlog(self) -> str:
        return self._key("backlog")

    @property
    def deltas(self) -> str:
        return self._key("deltas")

    def delta(self, name: str) -> str:
        return self._key("deltas", name)

    @property
    def sources(self) -> str:
        return self._key("sources")

    @property
    def sources_seen(self) -> str:
        return self._key("sources", "seen")

    @property
    def sources_last(self) -> str:
        return self._key("sources", "last")

    @property
    def sources_names(self) -> str:
        return self._key("sources", "names")

    @property
    def sources_before(self) -> str:
        return self._key("sources", "before")

    @property
    def source_lines(self) -> str:
        return self.table(SOURCE_LINES)

    @property
    def source_rejected(self) -> str:
        return self.table(SOURCE_REJECTED)

    @property
    def source_newest(self) -> str:
        return self.table(SOURCE_NEWEST)

    @property
    def types(self) -> str:
        return self._key("types")

    @property
    def words(self) -> str:
        return self._key("words")

    @property
    def types_numbers(self) -> str:
        return self._key("types", "numbers")

    @property
    def types_numbered(self) -> str:
        return self._key("types", "numbered")

    @property
    def types_retired(self) -> str:
        return self._key("types", "retired")

    @property
    def top(self) -> str:
        return self._key("top")

    @property
    def totals(self) -> str:
        return self._key("totals")

    @property
    def rejected(self) -> str:
        return self._key("rejected")

    @property
    def accepted(self) -> str:
        return self._key("accepted")

    @property
    def dead_letters(self) -> str:
        return self._key("dead-letters")

    @property
    def layout(self) -> str:
        return self._key("layout")

    @property
    def layout_history(self) -> str:
        return self._key("layout", "history")

    @property
    def imports(self) -> str:
        return self._key("imports")

    @property
    def rewritten(self) -> str:
        return self._key("rewritten")

    @property
    def probe(self) -> str:
        return self._key("probe")

    @property
    def absent(self) -> str:
        return self._key("absent")

    @property
    def once_new(self) -> str:
        return self._key("once", "new")

    @property
    def once_old(self) -> str:
        return self._key("once", "old")

    @property
    def once_own_new(self) -> str:
        return self._key("once", "own", "new")

    @property
    def once_own_old(self) -> str:
        return self._key("once", "own", "old")

    @property
    def purging(self) -> str:
        return self._key("purging")

    def windows(self, seconds: int) -> str:
        return self._key("windows", seconds)

    def rolled(self, seconds: int) -> str:
        return self._key("rolled", seconds)

    @property
    def dropped(self) -> str:
        return self._key("dropped")

    @property
    def floors(self) -> str:
        return self._key("floors")

    def folding(self, seconds: int) -> str:
        return self._key("folding", seconds)

    def leftovers(self, seconds: int) -> str:
        return self._key("leftovers", seconds)

    @property
    def folds(self) -> str:
        return self._key("folds")

    def table(self, table: Table | Kind) -> str:
        return self._key(table)

    def window(self, table: Table | Kind, seconds: int, start: int) -> str:
        return self._key(table, seconds, start)

    def window_types(self, seconds: int, start: int) -> str:
        return self.window(TYPES, seconds, start)

    def window_words(self, seconds: int, start: int) -> str:
        return self.window(WORDS, seconds, start)


def namespace_of_layout(key: bytes) -> str | None:
    """Return the namespace whose layout of all this key has; None if it is no such key."""
    namespace = key.decode("utf-8", "replace").partition(":")[0]
    if NAMESPACE_PATTERN.fullmatch(namespace) and key == Keys(namespace=namespace).layout.encode():
        return namespace
    return None


def keys_with_tag(keys: Keys) -> str:
    """Return a pattern of all keys that a shard may have."""
    return f"{keys.namespace}:{{{keys.tag}}}:*"


def keys_of_all_tags(keys: Keys) -> str:
    """Return a pattern of all keys that a namespace may have."""
    return f"{keys.namespace}:{{*}}:*"


def words_of(number: int) -> Table:
    """Return the table of the words of the type with this number."""
    return Table(f"words@{number}")


def number_of(table: str) -> int | None:
    """Return the number of the type whose words are in this table; None if it is no such table."""
    found = _WORDS_OF.fullmatch(table)
    return int(found[1]) if found else None


def all_time_key(keys: Keys, table: Table | Kind) -> str:
    """Return the key of the counts of all time."""
    return keys.table(table)


def window_key(keys: Keys, table: Table | Kind, seconds: int, start: int) -> str:
    """Return the key of the counts of a window, by its length and its start."""
    return keys.window(table, seconds, start)
