"""``python -m clawproto_cli``."""

from clawproto_cli.app import main

if __name__ == "__main__":
    main()
