"""The bare FastAPI handler that bench.api measures Tally's api against: it returns a dict of twenty words."""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI

app = FastAPI()
COUNTS = {f"word{number}": number * 1000 for number in range(20)}


@app.get("/")
async def counts() -> dict[str, int]:
    """What a first version of any counting service does."""
    return COUNTS


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
