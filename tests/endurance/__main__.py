"""`python -m tests.endurance COMMAND`: each subject is a command of its own module and prints what it measured."""

import sys

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Long tests on real nodes.")

if __name__ == "__main__":
    sys.exit(app())
