"""The command line. Exit code 0: done; 1: a check found a difference; 2: wrong usage or configuration."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command on the command line; errors that a person can mend are one sentence on standard error."""
    # What a command needs is imported only when it runs: `orchestrator --help` should not wait for a web server.
    import typer

    from orchestrator.cli.app import app
    from orchestrator.cli.explain import explain
    from orchestrator.cli.show import safe

    try:
        "".join(sys.argv).encode()
    except UnicodeEncodeError:
        # It could be neither stored nor printed.
        sys.stderr.write("orchestrator: the command line is not UTF-8\n")
        sys.exit(2)
    code: object = 0
    try:
        code = app(standalone_mode=False, prog_name="orchestrator")
    except typer.Exit as stop:
        code = stop.exit_code
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("orchestrator: stopped\n")
        code = 130
    except BrokenPipeError:
        sys.stderr.close()
    except Exception as error:
        # Typer keeps the class to itself.
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(str(error))
            error = typer.TyperException("say what to do: a command is missing")
        sentence = explain(error)
        if sentence is None:
            raise
        sys.stderr.write("\n".join(map(safe, f"orchestrator: {sentence}\n".split("\n"))))
        code = 2
    sys.exit(code if isinstance(code, int) else 0)
