"""The command line, `tally`: a module a command. Only this and `tally.local` start services."""
