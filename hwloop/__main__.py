"""`python -m hwloop`: the same as the `hwloop` program."""

import sys

from hwloop.cli.main import main

sys.exit(main())
