"""`medimg`: a click group that loads commands when they are named, and one error boundary."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import click

from medimg import __version__
from medimg.cli.interrupt import EXIT_CODE, came_of_interrupt, end_at_once, told
from medimg.core.errors import MedimgError, UsageError, near_misses

EPILOG = "Start with: medimg verify ./chest_xray   or, without data: medimg demo"
ISSUES = "medimg stopped where it should not have. Please report it with the lines above."


class Patient:
    """Standard output or error that outlives its reader.

    In `medimg verify DATASET | head` the reader goes away at the first lines. The job has a report
    to write and an exit code to give, so what is printed from then on is dropped.

    Args:
        stream: the text stream that is written to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._dropping():
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._dropping():
            self._stream.flush()

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            # what is still buffered goes there too, now and when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class LazyGroup(click.Group):
    """Commands come from plugins; a command's module is imported when the command is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from medimg.manager import plugins

        return sorted(plugins().commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from medimg.manager import plugins

        manager = plugins()
        commands = manager.commands()
        return manager.resolve(commands[cmd_name]) if cmd_name in commands else None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MedimgError as error:
            from medimg.core.as_typed import WORDS, filled

            # the next step can be typed as it stands
            error.hint = filled(error.hint, ctx.meta.get(WORDS, {}))
            raise

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = click.utils.make_str(args[0])
        from medimg.manager import plugins

        if not name.startswith("-") and name not in plugins().commands():
            raise UsageError(
                f"there is no command {name!r}", near_misses(name, self.list_commands(ctx))
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from medimg.manager import plugins

        rows = [(name, info.summary) for name, info in sorted(plugins().commands().items())]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="medimg")
def cli() -> None:
    """Check, train and report on medical-image classifiers without fooling yourself."""


def complain(error: MedimgError) -> None:
    """`Error: what, where`, and the next step on a line of its own."""
    click.echo(f"Error: {error.message}", err=True)
    if error.hint:
        click.echo("\n".join(f"  {line}" for line in error.hint.splitlines()), err=True)


def run(arguments: list[str] | None = None) -> int:
    """Runs a command line and returns its exit code; expected failures leave no traceback."""
    try:
        code = cli.main(args=arguments, prog_name="medimg", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except MedimgError as error:
        if came_of_interrupt(error):
            return told()
        complain(error)
        return error.exit_code
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        return told()
    except OSError as error:
        return disk_trouble(error)
    except Exception as error:
        if came_of_interrupt(error):
            return told()
        import traceback

        traceback.print_exc()
        click.echo(ISSUES, err=True)
        return 4


def disk_trouble(error: OSError) -> int:
    """Full disks and unreadable files are the user's to mend; what else is not keeps its trace."""
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" ({error.filename})" if error.filename else ""
        click.echo(f"Error: the disk is full{where}", err=True)
        click.echo("  Free some space, or write elsewhere: --out DIR", err=True)
        return 3
    import traceback

    traceback.print_exc()
    click.echo(ISSUES, err=True)
    return 4


def printable(stream: Any) -> Any:
    """A standard stream that prints what its encoding lacks as escapes, and outlives its reader."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    return Patient(stream) if stream is not None else None


def main() -> None:
    """Runs this process's command line and ends it."""
    sys.stdout, sys.stderr = printable(sys.stdout), printable(sys.stderr)
    code = run()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    if code == EXIT_CODE:
        # a thread or a process of a pool that was cut short may wait for ever, and Python for it
        os._exit(code)
    end_at_once()
    sys.exit(code)


if __name__ == "__main__":
    main()
