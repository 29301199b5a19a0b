"""What holds for all tests."""

import signal

# Under nohup, or in the background of a script, these are ignored, and so they would be by all that tests start; a
# handler that does nothing is not inherited.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)
