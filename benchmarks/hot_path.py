"""What one request costs inside the server, from the bytes of the socket to the bytes of the answer, and where.

Run: ``python -m benchmarks.hot_path [--save] [--instructions] [--cache FOLDER]``. No sockets and no load generator:
the real ``Connection``, on uvloop, is handed each request's bytes by a transport that keeps what is written, so a
figure is the server's own work and nothing of the kernel's. A closed loop: a connection's next request is fed, by a
turn of the loop of its own, when its answer has been written.

Measured per request, for the cases in ``hot_path_cases``: processor time in all, processor time by stage (a clock that
is switched where one room calls the next; see ``hot_path_stages``), blocks of memory asked of the allocator, and, with
``--instructions``, instructions executed, counted by valgrind's callgrind (Debian: ``apt-get install valgrind``) on a
model that does nothing, since neither a busy machine nor a changing clock rate moves that figure.
``--save`` writes ``benchmarks/results/hot_path.json``; ``scripts/hot_path_page.py`` renders it.
"""
