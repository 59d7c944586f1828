"""The command `runtide`: parse, call, print, choose the exit code."""

from etl.cli.entry import main

__all__ = ["main"]
