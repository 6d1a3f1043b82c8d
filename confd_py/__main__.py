"""`python -m confd_py` is `confd-py`."""

from confd_py.cli import main

main()
