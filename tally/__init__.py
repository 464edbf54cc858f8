"""What Tally's three services share: settings, keys, the store and its scripts, the command line."""

__version__ = "0.1.0"
