import asyncio
import logging

from tensorhost.server.registry import Limits, Registry

LIMITS = Limits(9, 1024, 1024, 1024, header_timeout_s=0.01, body_timeout_s=1, keep_alive_timeout_s=1)


class Checked:
    def __init__(self, *, fails):
        self.fails = fails
        self.checks = 0
        self.checked_twice = asyncio.Event()

    def check(self, _now):
        self.checks += 1
        if self.checks >= 2:
            self.checked_twice.set()
        if self.fails:
            raise RuntimeError("broken")


async def test_a_connection_that_fails_its_check_ends_nobody_elses_timeouts(caplog):
    registry = Registry(LIMITS)
    connections = [Checked(fails=number != 1) for number in range(3)]
    registry.connections = dict.fromkeys(connections)
    with caplog.at_level(logging.ERROR):
        registry.open()
        try:
            async with asyncio.timeout(10):
                for connection in connections:
                    await connection.checked_twice.wait()
        finally:
            registry.close()
    assert {record.getMessage() for record in caplog.records} == {"a connection's deadlines could not be checked"}
    assert all(record.exc_info for record in caplog.records)


async def test_nothing_is_checked_after_the_registry_has_closed():
    registry = Registry(LIMITS)
    connection = Checked(fails=False)
    registry.connections.add(connection)
    registry.open()
    registry.close()
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(5 * LIMITS.sweep_interval_s, later.set)
    await later.wait()
    assert connection.checks == 1
