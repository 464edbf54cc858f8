"""The ingestor: takes lines from sources and appends them to the stream as blocks."""
