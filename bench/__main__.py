"""`python -m bench`: all measurements one after the other, as `make bench` runs them. Takes a few minutes.

`--write` puts the results into bench/results.md; `--file PATH` measures how fast that file is counted, and nothing
else. `python -m bench.pipeline`, `bench.latency`, `bench.api`, `bench.bulk` and `bench.shards` have more options each.
`python -m bench.by_type` measures by itself what words by type cost.
"""

from __future__ import annotations

import argparse

from bench import api, bulk, latency, memory, pipeline, shards


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure speed, latency and answers under load, side by side; takes a few minutes.",
        epilog="python -m bench.pipeline, bench.latency, bench.api, bench.bulk, bench.shards and bench.memory measure "
        "one each, with more options.",
    )
    parser.add_argument("--write", action="store_true", help="put the reports into bench/results.md")
    parser.add_argument("--file", help="a file of events: measure only how fast it is counted")
    options = parser.parse_args()
    given = ["--write"] if options.write else []
    if options.file is not None:
        pipeline.main([*given, "--file", options.file])
        return
    latency.main(given)
    print()
    pipeline.main(given)
    print()
    api.main(given)
    print()
    bulk.main(given)
    print()
    shards.main(given)
    print()
    memory.main(given)


if __name__ == "__main__":
    main()
