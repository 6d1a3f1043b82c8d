"""`hecd demo`: the whole ring on one machine, with load on it, and what was seen as a table."""
