"""`python -m registrator` is `hecd`."""

from registrator.cli import main

main()
