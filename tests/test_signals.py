"""What asks a command to end ends it as a stop, whatever the work makes of the interruption."""

import os
import signal
from contextlib import suppress

import pytest

from cf.system.signals import Stop, Stopped, heard


def replaced(number: int) -> None:
    """A signal comes, and code that was interrupted tells of an error of its own."""
    with suppress(BaseException):
        os.kill(os.getpid(), number)
    raise ValueError("could not determine the shape of object")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_error_that_takes_the_place_of_a_stop_is_none(number: int) -> None:
    """PyTorch did so, asked for the shape of a storage while a signal came."""
    with pytest.raises(Stopped) as stopped, heard(Stop()):
        replaced(number)
    assert stopped.value.code == 128 + number


def test_an_error_of_the_work_stays_one() -> None:
    stop = Stop()
    stop.waits = True  # it ends by itself, at a point where nothing is lost
    with pytest.raises(ValueError, match="the shape of object"), heard(stop):
        replaced(signal.SIGTERM)
