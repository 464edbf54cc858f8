"""`python -m bench`: all measurements one after the other, as `make bench` runs them. Takes a few minutes.

`--write` puts the results into bench/results.md; `python -m bench.pipeline` and `python -m bench.latency` have more
options each.
"""

from __future__ import annotations

import argparse

from bench import latency, pipeline


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure speed and latency, side by side with other ways of counting; takes a few minutes.",
        epilog="python -m bench.pipeline and python -m bench.latency measure one of them and have more options.",
    )
    parser.add_argument("--write", action="store_true", help="put the reports into bench/results.md")
    given = ["--write"] if parser.parse_args().write else []
    latency.main(given)
    print()
    pipeline.main(given)


if __name__ == "__main__":
    main()
