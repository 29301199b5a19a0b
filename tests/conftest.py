"""What holds for all tests."""

import signal

from hypothesis import settings

# These machines are shared: how long an example takes says nothing about it.
settings.register_profile("beamtime", deadline=None)
settings.load_profile("beamtime")

# Under nohup, or in the background of a script, these are ignored, and so they would be by all that tests start; a
# handler that does nothing is not inherited.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)
