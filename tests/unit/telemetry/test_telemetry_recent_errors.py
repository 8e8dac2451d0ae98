import json
from dataclasses import asdict

from tensorhost.telemetry.recent_errors import MAX_ERRORS, RecentErrors, newest


def note(errors, number=0, **fields):
    given = {"method": "POST", "path": "/predict", "status": 400, "code": "INVALID_REQUEST", "message": "No."}
    errors.add(request_id=f"r{number}", **{**given, **fields})


def test_the_newest_come_first_and_the_oldest_go():
    errors = RecentErrors()
    for number in range(MAX_ERRORS + 5):
        note(errors, number)
    kept = errors.newest_first()
    assert len(kept) == MAX_ERRORS
    assert {error.request_id for error in kept} == {f"r{number}" for number in range(5, MAX_ERRORS + 5)}
    assert [error.at for error in kept] == sorted((error.at for error in kept), reverse=True)


def test_what_a_client_chose_is_cut_and_can_be_written():
    errors = RecentErrors()
    note(errors, path="/" + "x" * 10_000, message="m" * 10_000, model="\ud800" + "y" * 10_000, version="\udfff")
    (error,) = errors.newest_first()
    assert max(len(text) for text in asdict(error).values() if isinstance(text, str)) == 1000
    assert error.model.startswith("?y")
    json.dumps(asdict(error)).encode()


def test_errors_of_several_processes_are_one_list():
    first, second = RecentErrors(), RecentErrors()
    for number in range(MAX_ERRORS):
        note(first, number)
        note(second, number + 1000)
    together = newest((*first.newest_first(), *second.newest_first()))
    assert len(together) == MAX_ERRORS
    assert min(error.at for error in together) >= max(error.at for error in first.newest_first()[MAX_ERRORS // 2 + 1 :])
