"""The api: answers over HTTP from the counts in Redis. It keeps nothing but short-lived snapshots."""
