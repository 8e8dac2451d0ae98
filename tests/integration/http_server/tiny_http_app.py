"""A process of its own that serves a tiny application: the child of the tests that send signals.

Usage: tiny_http_app.py SETTINGS_AS_JSON. It prints ``ready PORT``, ``drain`` and ``stopped N`` (requests cut off).
"""

import asyncio
import json
import sys
import time

import uvloop

from tensorhost.server.stop import serve
from tensorhost.settings import Settings

state = {"draining": False}


async def app(scope, receive, send):
    request = await receive()
    status, body = 200, b"%d" % len(request["body"])
    if scope["path"] == "/ready":
        status, body = (503, b"draining") if state["draining"] else (200, b"ready")
    elif scope["path"] == "/slow":
        await asyncio.sleep(0.05)
    elif scope["path"] == "/hang":
        say("hanging")
        await asyncio.Event().wait()
    elif scope["path"] == "/block":
        say("blocking")
        time.sleep(3600)  # noqa: ASYNC251 - the hung loop is the point
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def say(line):
    print(line, flush=True)


def on_drain():
    state["draining"] = True
    say("drain")


async def on_stopped(report):
    say(f"stopped {report.cut_off_requests}")


async def main():
    report = await serve(
        app,
        Settings(port=0, **json.loads(sys.argv[1])),
        on_ready=lambda servers: say(f"ready {servers.http.port}"),
        on_drain=on_drain,
        on_stopped=on_stopped,
    )
    return 0 if report.clean else 1


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
