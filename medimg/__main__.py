"""`python -m medimg`."""

from __future__ import annotations

from medimg.cli.main import main

main()
