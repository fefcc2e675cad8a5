"""``python -m testbed``: whichever python3 this is, go on in the project's environment."""

import os
import sys
from pathlib import Path

ENVIRONMENT = Path(__file__).resolve().parent.parent / ".venv"


def reexecute() -> None:
    """Replace this process by the environment's python, unless it is that already."""
    if Path(sys.prefix).resolve() == ENVIRONMENT.resolve():  # it may be a link
        return
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "installed").exists():
        print(f"testbed: {ENVIRONMENT} is not set up; run `make install` in "
              f"{ENVIRONMENT.parent}", file=sys.stderr)
        sys.exit(3)
    os.execv(python, [str(python), "-m", "testbed", *sys.argv[1:]])


if __name__ == "__main__":
    try:
        reexecute()
        from testbed.cli.main import main

        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)  # while importing: nothing was begun
