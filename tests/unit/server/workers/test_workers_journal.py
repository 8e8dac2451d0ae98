from pathlib import Path

from tensorhost.models.listed import ListedModel
from tensorhost.models.wishes import Action, Wish
from tensorhost.server.workers.journal import Journal, undo

LOAD, UNLOAD = Action.LOAD, Action.UNLOAD


def journal_of(*wishes):
    journal = Journal()
    for wish in wishes:
        journal.add(wish)
    return journal.wishes()


def test_the_last_wish_about_a_version_counts_in_the_order_of_the_last():
    first, second, third = Wish(LOAD, "m", "1"), Wish(UNLOAD, "m", "2"), Wish(UNLOAD, "m", "1")
    assert journal_of(first, second) == (first, second)
    assert journal_of(first, second, third) == (second, third)
    assert journal_of(second, first, second) == (first, second)
    everything = Wish(UNLOAD, "m")
    assert journal_of(first, everything, first) == (everything, first)


def test_where_a_version_lies_is_kept_until_another_path_is_named():
    by_path, gone, again = Wish(LOAD, "m", None, Path("/a")), Wish(UNLOAD, "m"), Wish(LOAD, "m")
    assert journal_of(by_path, gone) == (by_path, gone)
    assert journal_of(by_path, gone, again) == (by_path, again)
    elsewhere = Wish(LOAD, "m", None, Path("/b"))
    assert journal_of(by_path, gone, elsewhere) == (elsewhere,)


def test_a_load_is_taken_back_by_unloading_what_it_added():
    assert undo(Wish(LOAD, "m"), (), {"2", "1"}) == [Wish(UNLOAD, "m", "1"), Wish(UNLOAD, "m", "2")]
    assert undo(Wish(LOAD, "m", "1"), (), set()) == []


def test_an_added_model_is_one_to_load_until_that_has_come_to_nothing():
    before, other = Wish(LOAD, "m", "1", Path("/a")), Wish(LOAD, "n", "1", Path("/n"))
    journal = Journal()
    for wish in (before, label("m", "x"), other):
        journal.add(wish)
    earlier, added = journal.wishes(), Wish(Action.ADD, "m", "1", Path("/b"))
    journal.add(added)
    assert journal.wishes() == (other, Wish(LOAD, "m", "1", Path("/b")), label("m", "x"))
    journal.take_back(added, earlier)
    assert journal.wishes() == (other, before, label("m", "x"))
    new = Wish(Action.ADD, "new", "1", Path("/new"))
    journal.add(new)
    journal.take_back(new, earlier)
    assert journal.wishes() == (other, before, label("m", "x"))


def test_files_that_took_the_place_of_others_give_it_back():
    before = Wish(LOAD, "m", "1", Path("/a"))
    assert undo(Wish(LOAD, "m", "1", Path("/b")), (Wish(LOAD, "other"), before), set()) == [before]
    assert undo(Wish(LOAD, "m", "1", Path("/b")), (before,), {"1"}) == [Wish(UNLOAD, "m", "1")]


A, B, B_ELSEWHERE = ListedModel("a", Path("/a")), ListedModel("b", Path("/b")), ListedModel("b", Path("/other"))
BY_PATH = Wish(LOAD, "mine", "1", Path("/mine"))


def replace(*models):
    return Wish(Action.REPLACE, "", models=models)


def label(name, text, version="1"):
    return Wish(Action.RELABEL, name, version, label=text)


def test_a_list_begins_anew_for_what_it_changes_and_keeps_what_was_named_by_path():
    journal = Journal()
    assert journal.models is None
    for wish in (Wish(UNLOAD, "a"), Wish(LOAD, "c", "1"), BY_PATH, label("a", "x"), label("mine", "y")):
        journal.add(wish)
    journal.add(replace(A, B))
    assert journal.models == (A, B)
    assert journal.wishes() == (BY_PATH, label("a", "x"), label("mine", "y"))
    journal.add(Wish(UNLOAD, "a"))
    journal.add(Wish(UNLOAD, "b"))
    journal.add(replace(A, B_ELSEWHERE))
    assert journal.wishes() == (BY_PATH, Wish(UNLOAD, "a"), label("a", "x"), label("mine", "y"))
    journal.add(replace())
    assert (journal.models, journal.wishes()) == ((), (BY_PATH, label("mine", "y")))
    journal.add(replace(ListedModel("mine", Path("/b"), labels={"y": "2"})))
    assert journal.wishes() == ()


def test_a_list_that_was_refused_leaves_no_trace():
    journal = Journal()
    journal.add(Wish(UNLOAD, "a"))
    journal.add(label("a", "x"))
    before = journal.state()
    journal.add(replace(A))
    assert journal.wishes() == (label("a", "x"),)
    journal.restore(before)
    assert (journal.models, journal.wishes()) == (None, (Wish(UNLOAD, "a"), label("a", "x")))
