"""`python -m plum_worker.simulator`."""

import sys

from plum_worker.simulator.program import main

sys.exit(main())
