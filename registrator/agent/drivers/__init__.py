"""Drivers of the agent's ports: each the only file that knows its counterpart."""
