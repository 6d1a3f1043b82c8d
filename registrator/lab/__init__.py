"""A fleet on one machine: hosts as network namespaces, with all that real ones run, and their faults on demand."""
