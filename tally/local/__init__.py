"""Everything on one machine: an embedded server, and the services as processes beside it."""
