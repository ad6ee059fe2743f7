"""The command line: one thin module a command, each a face of one flow."""

from silicut.cli.app import main

__all__ = ["main"]
