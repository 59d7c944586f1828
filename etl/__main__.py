"""`python -m etl` is the command `runtide`."""

from etl.cli import main

main()
