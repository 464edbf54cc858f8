"""The users that Tally's services are in Redis: which scripts and commands each may run, on which keys.

What is declared here is all that a service does in Redis; `tally redis-users` and deploy/redis/users.acl are made of
it. A script runs with the rights of its user: EVALSHA needs reading and writing of each key that it names, and each
command inside is looked at again. Commands that put something in a key's place, or delete it, are confined to the keys
that are meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from tally.keys import DEFAULT_NAMESPACE, TYPES, WORDS, Keys, Table, words_of
from tally.store.lua import WritingScript, calls_of, own_text
from tally.store.permissions import AGGREGATORS, DEAD_LETTERS, INGESTORS

#: Names keys of a shard; the second argument stands for any length and any start, and any number of a type.
Naming = Callable[[Keys, Any], Iterable[str]]

#: A number, as a pattern of an ACL: it begins with a digit.
_ANY_NUMBER: Any = "[0-9]*"

#: What concerns the own connection alone, whatever this server has of it: CLIENT SETINFO, WAIT and WAITAOF among them,
#: which cannot be named one by one, because Redis 7.0 refuses a rule about a command that it does not know.
_OWN_CONNECTION = ("+@connection", "-@dangerous", "-client|tracking", "-client|caching")

#: How the scripts are sent.
_READING = ("evalsha_ro", "eval_ro")
_WRITING = (*_READING, "evalsha", "eval", "script|load")

#: What every service asks: the server's state, which a fit set-up and a full memory are told by, and who has a slot.
_ALL = ("cluster|slots", "info", "time")


@dataclass(frozen=True, slots=True)
class User:
    """What the user of a service may do, besides what concerns its own connection."""

    name: str
    written: Naming = lambda _at, _any: ()
    only_written: Naming = lambda _at, _any: ()
    read: Naming = lambda _at, _any: ()
    scripts: tuple[str, ...] = ()
    reading_scripts: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    confined: Mapping[tuple[str, ...], Naming] | None = None

    @property
    def commands(self) -> list[str]:
        """All commands that are not confined, as ACLs name them."""
        found = {"|".join(words) for script in self.scripts for words in WritingScript(script).commands}
        # Those of its own alone: a library has functions that write, too, and one that only reads calls none of them.
        found |= {"|".join(words) for script in self.reading_scripts for words in calls_of(own_text(script))}
        sent = (_WRITING if self.scripts else _READING) if self.scripts or self.reading_scripts else ()
        confined = {command for commands in self.confined or () for command in commands}
        return sorted({each.lower() for each in found} - confined | {*self.others, *sent})

    def rules(self, namespace: str) -> list[str]:
        """Return the rules behind its name and its password."""
        found = ["resetchannels", "-@all", *_OWN_CONNECTION, *(f"+{each}" for each in self.commands)]
        found += [f"~{pattern}" for pattern in _patterns(self.written, namespace)]
        found += [f"%W~{pattern}" for pattern in _patterns(self.only_written, namespace)]
        found += [f"%R~{pattern}" for pattern in _patterns(self.read, namespace)]
        for commands, naming in (self.confined or {}).items():
            rules = [f"+{each}" for each in commands] + [f"~{pattern}" for pattern in _patterns(naming, namespace)]
            found.append(f"({' '.join(rules)})")
        return found


#: The keys that somebody needs who has dead letters counted after all, or drops them.
DEAD_LETTER_KEEPER = User(
    name="admin",
    scripts=DEAD_LETTERS,
    written=lambda at, any_: (
        *(at.dead_letters, at.stream, at.backlog, at.totals, at.deltas, at.delta(any_), at.layout, at.absent),
    ),
)


#: The keys that somebody needs who has names forgotten, or compacts them.
NAME_KEEPER = User(
    name="admin",
    scripts=("compact_names", "forget_names", "purge_stream", "rebuild_top"),
    written=lambda at, any_: (
        *(_windows_of(at, TYPES, any_), _windows_of(at, WORDS, any_), at.table(words_of(any_))),
        *(at.types, at.words, at.top, at.backlog, at.types_numbers, at.types_numbered, at.types_retired),
        *(at.rejected, at.accepted, at.dead_letters, at.purging, at.layout, at.absent),
    ),
)


def _patterns(naming: Naming, namespace: str) -> list[str]:
    return list(naming(Keys(_ANY_NUMBER, namespace), _ANY_NUMBER))


def _windows_of(at: Keys, table: Table, any_: Any) -> str:
    any_start: Any = "*"  # it may be one before 1970
    return at.window(table, any_, any_start)


INGESTOR = User(
    name="ingestor",
    scripts=(*INGESTORS, "ensure_layout"),
    reading_scripts=("known_sources", "permissions"),
    others=(*_ALL, "bgrewriteaof", "hgetall", "hscan", "xinfo|groups", "zrange"),
    written=lambda at, _: (
        *(at.stream, at.backlog, at.totals, at.layout, at.absent),
        *(at.sources, at.sources_seen, at.sources_last, at.sources_names, at.sources_before),
        *(at.once_new, at.once_old, at.once_own_new, at.once_own_old),
        # What was counted of a file goes with the file.
        *(at.source_lines, at.source_rejected, at.source_newest),
    ),
    confined={
        ("get",): lambda at, _: (at.rewritten,),
        ("set",): lambda at, _: (at.rewritten, at.probe),
        ("pexpire", "rename", "unlink"): lambda at, _: (at.once_new, at.once_old, at.once_own_new, at.once_own_old),
    },
)

AGGREGATOR = User(
    name="aggregator",
    scripts=(*AGGREGATORS, "ensure_layout"),
    reading_scripts=("next_chunk", "oldest", "overdue", "permissions"),
    others=(*_ALL, "bgrewriteaof", "hvals", "xinfo|groups"),
    # What a batch touches most comes first: each key of a script is compared with one pattern after the other.
    written=lambda at, any_: (
        *(_windows_of(at, TYPES, any_), _windows_of(at, WORDS, any_), at.table(words_of(any_))),
        *(at.types, at.words, at.top, at.totals, at.backlog, at.deltas, at.delta("*"), at.stream),
        *(at.windows(any_), at.floors, at.folds, at.folding(any_), at.leftovers(any_)),
        *(at.types_numbers, at.types_numbered, at.types_retired),
        *(at.source_lines, at.source_rejected, at.source_newest),
        *(at.rejected, at.accepted, at.dead_letters, at.layout, at.absent),
    ),
    read=lambda at, _: (at.layout_history,),
    confined={
        ("set",): lambda at, _: (at.rewritten, at.probe),
        ("get",): lambda at, _: (at.rewritten, at.types_numbered),
        ("unlink",): lambda at, any_: (
            *(_windows_of(at, TYPES, any_), _windows_of(at, WORDS, any_), at.table(words_of(any_)), at.delta("*")),
        ),
        # What has a time to live of nothing is deleted, as by UNLINK; and XADD trims the stream that it adds to.
        ("pexpire", "persist"): lambda at, _: (at.delta("*"),),
        ("expire",): lambda at, _: (at.accepted,),
        ("xadd",): lambda at, _: (at.rejected, at.accepted, at.dead_letters),
    },
)

#: The keys that somebody needs who imports: whose counts go in as those of an aggregator do.
IMPORTER = User(
    name="admin",
    scripts=(
        *("begin_import", "import_entries", "import_layout", "import_once", "import_sources", "settle_import"),
        *("apply", "ensure_layout", "stage"),
    ),
    written=lambda at, any_: (
        *AGGREGATOR.written(at, any_),
        *(at.sources, at.sources_seen, at.sources_last, at.sources_names, at.sources_before),
        *(at.once_new, at.once_old, at.once_own_new, at.once_own_old, at.imports, at.layout_history),
    ),
)

API = User(
    name="api",
    reading_scripts=("distinct", "oldest", "sum_fields", "top_words"),
    others=(
        *(*_ALL, "get", "hget", "hgetall", "hlen", "hmget", "hscan", "hvals", "memory|usage", "set", "xinfo|consumers"),
        *("xinfo|stream", "xlen", "xrevrange", "zrange", "zrevrange"),
    ),
    # This is all that SET can be used for.
    only_written=lambda at, _: (at.probe,),
    read=lambda at, any_: (
        *(_windows_of(at, TYPES, any_), _windows_of(at, WORDS, any_), at.table(words_of(any_))),
        *(at.types, at.words, at.top, at.totals, at.backlog, at.deltas, at.stream),
        *(at.windows(any_), at.floors, at.folds, at.types_numbers, at.types_numbered, at.types_retired),
        *(at.sources, at.sources_seen, at.sources_before, at.source_lines, at.source_rejected, at.source_newest),
        *(at.rejected, at.accepted, at.dead_letters, at.layout, at.once_new, at.once_old, at.imports),
    ),
)

#: Of the user `default`, as whom nobody can log in. It keeps its rights all the same: as `default` a server executes
#: what stands in its append-only file, and a transaction that it may not run is lost, with no more than a log line.
#: See docs/decisions/a-user-for-each-service.md.
_NOBODY = "off resetpass ~* &* +@all"

#: Those of the services, in the order in which events pass them.
SERVICES = (INGESTOR, AGGREGATOR, API)

#: Whoever looks after the server: `tally` on the command line, `redis-cli`.
ADMIN = "admin"

#: What servers are to each other: their `masteruser`.
REPLICA = "replica"

#: All users that there are; nobody else may do anything.
NAMES = (*(each.name for each in SERVICES), ADMIN, REPLICA)


def names_with(also: Sequence[str]) -> tuple[str, ...]:
    """Return the names of all users where there are those of these namespaces, too: `NAMESPACE-SERVICE`."""
    return (*NAMES, *(f"{namespace}-{each.name}" for namespace in also for each in SERVICES))


def acl_file(
    *,
    namespace: str = DEFAULT_NAMESPACE,
    also: Sequence[str] = (),
    passwords: Mapping[str, str] | None = None,
) -> str:
    """Return a file for Redis' `aclfile`, with the hash of each user's password; `also` with users of other namespaces.

    Without passwords there is a word in the place of each that no Redis takes for one.
    """
    rules = {each.name: each.rules(namespace) for each in SERVICES}
    rules |= {f"{other}-{each.name}": each.rules(other) for other in also for each in SERVICES}
    rules[ADMIN] = ["~*", "&*", "+@all"]
    rules[REPLICA] = ["resetchannels", "-@all", "+psync", "+replconf", "+ping"]
    lines = [f"user default {_NOBODY}"]
    lines += [f"user {name} on #{_hash(name, passwords)} {' '.join(rules[name])}" for name in names_with(also)]
    return "\n".join(lines) + "\n"


def _hash(name: str, passwords: Mapping[str, str] | None) -> str:
    if passwords is None:
        return f"SHA-256-OF-THE-PASSWORD-OF-{name.upper()}"
    return sha256(passwords[name].encode()).hexdigest()
