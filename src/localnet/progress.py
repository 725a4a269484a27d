"""Auto-progress: a thread that keeps a network's time real and executes rounds as work arrives.

It also sends the network's outcalls out, through `outcall_client`.
"""

from __future__ import annotations

import logging
import threading
import time

from localnet.network import Network
from localnet.outcall_client import OutcallClient

logger = logging.getLogger("localnet")

IDLE_SECONDS = 0.25
"""Longest time between two rounds when there is nothing to do."""


class AutoProgress:
    """Drives one network until stopped."""

    def __init__(self, network: Network, client: OutcallClient) -> None:
        self._network = network
        self._client = client
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="localnet progress", daemon=True)

    def start(self) -> None:
        """Set the network's time to the machine's and start executing rounds."""
        with self._network.lock:
            self._network.clock.real = True
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current round; time stays where it is until the client moves it."""
        self._stop.set()
        self._network.work.set()
        self._thread.join()
        with self._network.lock:
            self._network.clock.real = False

    def _run(self) -> None:
        network = self._network
        while not self._stop.is_set():
            try:
                with network.lock:
                    network.tick()
                    busy = network.scheduler.busy
                    wait = IDLE_SECONDS if not busy else 0.0
                    timers = [c.armed_timer for c in network.canisters.values() if c.armed_timer]
                    self._client.send(network)
            except Exception:
                if network.failure is not None:
                    # That was said when it stopped, and there is nothing to go on with.
                    return
                logger.exception("a round failed")
                wait, timers = IDLE_SECONDS, []
            if timers:
                wait = min(wait, max(0.0, (min(timers) - time.time_ns()) / 1e9))
            if wait:
                network.work.wait(wait)
            else:
                # Let those who wait for the lock have their turn.
                time.sleep(0.0005)
