"""`python -m plum_agent` is `plum-agent`."""

from plum_agent.main import main

main()
