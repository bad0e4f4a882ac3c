"""For all tests: Ctrl-C ends what they start, also where a shell runs them in the background and ignores it."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
