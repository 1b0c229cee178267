"""`medimg` and `python -m medimg`."""

from __future__ import annotations

import sys


def main() -> None:
    """The console script; nothing of medimg's is imported before it minds Ctrl-C."""
    try:
        from medimg.cli.interrupt import press_again_where_lost

        press_again_where_lost()
        from medimg.cli.main import main as command_line

        command_line()
    except KeyboardInterrupt:
        # a terminal has written ^C, as click takes for granted too
        print("\nInterrupted.", file=sys.stderr, flush=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
