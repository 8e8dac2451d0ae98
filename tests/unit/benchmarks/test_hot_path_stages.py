from benchmarks.hot_path_server import CASES, Load
from benchmarks.hot_path_stages import STAGES, marked


async def test_every_request_passes_every_mark_once():
    requests = Load(CASES["tiny"], None)
    with marked(requests) as marks:
        await requests.run(20)
    assert dict(zip(STAGES, map(len, marks.instants), strict=True)) == dict.fromkeys(STAGES, 20)


async def test_marks_are_taken_away_again():
    requests = Load(CASES["tiny"], None)
    with marked(requests):
        pass
    with marked(requests) as marks:
        pass
    await requests.run(20)
    assert not any(marks.instants)
