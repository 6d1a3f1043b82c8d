"""HAProxy: reads its configuration, speaks its Runtime API, and brings the one to the other."""
