"""Clients that keep a server busy, for tests of what happens to their requests."""

from __future__ import annotations

import http.client
import json
import threading

from native_server import exchange

KEPT_ALIVE, NEW = 16, 4


class Load:
    """Clients that send requests until told to stop; every answer and every failure is kept."""

    def __init__(self, server, body):
        self.port = server.port
        self.body = json.dumps(body).encode()
        self.answers = []
        self.lost = []
        self.unsent = 0
        self.enough = threading.Event()
        self.flowing = threading.Semaphore(0)

    def keep_alive(self):
        """One connection for all requests; a new one when the server has closed it."""
        connection = None
        while not self.enough.is_set():
            connection = connection or self._connect()
            if connection is None:
                return
            closes = self._ask(connection)
            if closes:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def new_connections(self):
        while not self.enough.is_set():
            connection = self._connect()
            if connection is None:
                return
            self._ask(connection)
            connection.close()

    def _connect(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.connect()
        except OSError:
            self.unsent += 1  # refused before anything was sent
            connection.close()
            return None
        return connection

    def _ask(self, connection):
        """Whether the connection is of no more use."""
        try:
            answer = exchange(connection, "POST", "/predict", self.body, {"Content_Type": "application/json"})
        except (OSError, http.client.HTTPException) as error:
            self.lost.append(repr(error))
            return True
        self.answers.append(answer)
        self.flowing.release()
        return answer.headers.get("connection") == "close"

    def run(self, pool):
        return [pool.submit(self.keep_alive) for _ in range(KEPT_ALIVE)] + [
            pool.submit(self.new_connections) for _ in range(NEW)
        ]

    def wait_for_answers(self, count):
        for _ in range(count):
            assert self.flowing.acquire(timeout=30)
