"""Which scripts that write belong to whom; users.py tells what else each may do."""

from __future__ import annotations

#: Those of each service.
INGESTORS = (
    "append",
    "append_once",
    "create_group",
    "forget_source_counts",
    "forget_sources",
    "reconcile_backlog",
    "register_sources",
    "renew_sources",
)
AGGREGATORS = (
    "apply",
    "claim",
    "create_group",
    "dead_letter",
    "drop_windows",
    "fold",
    "number_types",
    "reconcile_backlog",
    "remove_consumer",
    "renew_pending",
    "retry",
    "settle",
    "stage",
)

#: Those of somebody who looks after the dead letters.
DEAD_LETTERS = ("append_dead_letter", "drop_dead_letter", "settle_dead_letter")

#: Those of somebody who looks after a namespace: who holds appends, and reads or changes all of it meanwhile.
ADMINS = (
    "begin_import",
    "compact_names",
    "empty_pipeline",
    "forget_names",
    "import_entries",
    "import_layout",
    "import_once",
    "import_sources",
    "purge_stream",
    "rebuild_top",
    "release_lease",
    "settle_import",
    "take_lease",
)
