"""What workers of the tests' clusters are asked: a module, so that they find it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from hwloop.backend.embedded import map_one
from hwloop.backend.request import MapRequest, Outcome


def answer_or_die(request: MapRequest) -> Outcome:
    """`map_one`; a layer called `killer` takes its worker with it, one called `slow` waits until its worker is killed once."""
    if request.layer == "killer":
        with Path(request.network).open("a") as told:
            told.write(f"{os.getpid()}\n")
        os._exit(1)
    if request.layer == "slow":
        place = Path(request.network)
        if not place.exists():
            place.write_text(str(os.getpid()))
            time.sleep(120)
    return map_one(request)
