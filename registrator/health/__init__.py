"""Probes and verdicts: what agents and the announcer both need to tell whether something serves."""
