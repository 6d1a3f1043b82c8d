"""Everything on one machine: the programs of a node as child processes, as systemd would run them."""
