"""`python -m plum_controller` is the same program as `plum-controller`."""

from plum_controller.main import main

if __name__ == "__main__":
    raise SystemExit(main())
