"""The process: `pdsync` and `python -m pdsync`."""

import signal


def main() -> None:
    """Run the command line.

    Who presses Ctrl-C before that is there ends the process without a word: Python would show where it was.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pdsync.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
