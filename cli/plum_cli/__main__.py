"""`python -m plum_cli` is `plum`."""

import sys

from plum_cli.main import main

sys.exit(main())
