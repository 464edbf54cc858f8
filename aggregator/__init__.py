"""The aggregator: takes blocks off the stream and turns them into counts."""
