import pytest
from ledgerline import journal
from ledgerline.dates import Date
from ledgerline.journal import Posting, Transaction


def spend(day, cents, account="expenses:food", payee="Grocer", is_cleared=False, month=3):
    postings = (Posting(account, cents), Posting("assets:cash", -cents))
    return Transaction(Date(2024, month, day), payee, postings, is_cleared)


@pytest.mark.parametrize(
    ("line", "expected"),
    [("a ; b", "a"), ("a  ", "a"), ('"x;y" z;c', '"x;y" z'), ("; all", ""), ('"x" y;z', '"x" y')],
    ids=["comment", "spaces", "quoted", "only", "after_quotes"],
)
def test_strip_comment(line, expected):
    assert journal.strip_comment(line) == expected


def test_header():
    assert journal.parse_header("2024-03-01 Corner shop") == (Date(2024, 3, 1), "Corner shop", False)


def test_header_with_a_star():
    assert journal.parse_header("2024-03-01  * Grocer") == (Date(2024, 3, 1), "Grocer", True)


def test_header_needs_a_payee():
    for line in ("2024-03-01", "2024-03-01 *"):
        with pytest.raises(ValueError, match="a payee"):
            journal.parse_header(line)


def test_posting():
    assert journal.parse_posting("  assets:my bank   -3.20") == ("assets:my bank", -320)


def test_posting_without_amount():
    assert journal.parse_posting("  assets:cash") == ("assets:cash", None)


def test_posting_needs_an_account():
    for line in ("", ":cash  1", "assets:  1"):
        with pytest.raises(ValueError, match="expected an account"):
            journal.parse_posting(line)


def test_complete_leaves_what_is_complete():
    assert journal.complete([("a", 5), ("b", -5)]) == (Posting("a", 5), Posting("b", -5))


def test_complete_fills_the_gap():
    assert journal.complete([("a", 5), ("b", None), ("c", 2)])[1] == Posting("b", -7)


def test_complete_refuses_two_gaps():
    with pytest.raises(ValueError, match="got 2"):
        journal.complete([("a", 5), ("b", None), ("c", None)])


def test_complete_refuses_a_sum():
    for cents in (-4, -6):
        with pytest.raises(ValueError, match="sum to zero"):
            journal.complete([("a", 5), ("b", cents)])


def test_journal_is_read_in_order_of_dates():
    text = "2024-03-02 B\n  x  1\n  y\n\n; note\n2024-03-01 * A\n\tx  2\n  y  -2\n"
    first, second = journal.parse_journal(text)
    assert first == Transaction(Date(2024, 3, 1), "A", (Posting("x", 200), Posting("y", -200)), True)
    assert second == Transaction(Date(2024, 3, 2), "B", (Posting("x", 100), Posting("y", -100)), False)


def test_journal_may_be_empty():
    assert journal.parse_journal("\n  \n; nothing\n") == []


def test_journal_needs_a_header_first():
    with pytest.raises(ValueError, match="header before"):
        journal.parse_journal("  x  1\n")


def test_depth():
    for account, expected in (("", 0), ("assets", 1), ("assets:bank:savings", 3)):
        assert journal.depth(account) == expected


def test_ancestors():
    assert journal.ancestors("assets:bank:savings") == ["assets", "assets:bank"]
    assert journal.ancestors("assets") == []


@pytest.mark.parametrize(
    ("account", "root", "expected"),
    [("a:b", "a", True), ("a", "a", True), ("ab", "a", False), ("a", "a:b", False), ("a", "", True)],
    ids=["below", "same", "prefix", "above", "everything"],
)
def test_is_under(account, root, expected):
    assert journal.is_under(account, root) is expected


def test_natural_amount():
    for account, expected in (("income:wages", -5), ("assets", 5), ("liabilities", -5)):
        assert journal.natural_amount(account, 5) == expected


def test_balances():
    totals = journal.balances([spend(1, 500), spend(2, 250), spend(3, 99, "expenses:fun")])
    assert totals == {"assets:cash": -849, "expenses:food": 750, "expenses:fun": 99}
    assert list(totals) == ["assets:cash", "expenses:food", "expenses:fun"]


def test_balances_of_what_is_cleared():
    totals = journal.balances([spend(1, 500, is_cleared=True), spend(2, 250)], only_cleared=True)
    assert totals == {"assets:cash": -500, "expenses:food": 500}


def test_parents_hold_what_is_below():
    totals = journal.balances_with_parents({"a:c:d": 1, "a:b": 2, "a:c": 4})
    assert totals == {"a": 7, "a:b": 2, "a:c": 5, "a:c:d": 1}
    assert list(totals) == ["a", "a:b", "a:c", "a:c:d"]


def test_select_by_period():
    transactions = [spend(1, 1), spend(2, 2), spend(3, 3)]
    assert journal.select(transactions, first=Date(2024, 3, 2)) == transactions[1:]
    assert journal.select(transactions, last=Date(2024, 3, 2)) == transactions[:2]


def test_select_by_payee():
    transactions = [spend(1, 1), spend(2, 2, payee="Green Grocers"), spend(3, 3, payee="Bar")]
    assert journal.select(transactions, payee="gROCER") == transactions[:2]


def test_select_by_account():
    transactions = [spend(1, 1), spend(2, 2, "expenses:fun")]
    assert journal.select(transactions, root="expenses:fun") == transactions[1:]


def test_running_totals():
    rows = journal.running_totals([spend(1, 500), spend(2, 250)], "assets", opening=1000)
    assert rows == [(Date(2024, 3, 1), -500, 500), (Date(2024, 3, 2), -250, 250)]


def test_running_totals_start_at_zero():
    assert journal.running_totals([spend(1, 1)], "expenses") == [(Date(2024, 3, 1), 1, 1)]


def test_running_totals_leave_out_what_changes_nothing():
    assert journal.running_totals([spend(1, 500), spend(2, 250, "assets:bank")], "assets") == [
        (Date(2024, 3, 1), -500, -500)
    ]


def test_totals_by_month():
    transactions = [spend(1, 5), spend(2, 7), spend(1, 9, month=4), spend(1, 1, "other", month=5)]
    assert journal.totals_by_month(transactions, "expenses") == {(2024, 3): 12, (2024, 4): 9}


def test_report_of_balances():
    report = journal.format_balances({"assets": 1200, "assets:cash": -5}, width=8)
    assert report == "   12.00  assets\n   -0.05    cash"


def test_report_of_balances_up_to_a_depth():
    for max_depth, names in ((0, "abc"), (1, "a"), (2, "ab"), (3, "abc")):
        report = journal.format_balances({"a": 0, "a:b": 0, "a:b:c": 0}, max_depth=max_depth)
        assert "".join(line.split()[-1] for line in report.splitlines()) == names


def test_report_of_balances_has_room_for_a_million():
    assert journal.format_balances({"x": 123_456_789}) == "1,234,567.89  x"
    assert journal.format_balances({"x": 1}) == "        0.01  x"


def test_register():
    rows = [(Date(2024, 3, 1), -500, 0), (Date(2024, 3, 2), 20, 20)]
    assert journal.format_register(rows, width=8).splitlines() == [
        "2024-03-01   -5.00       -",
        "2024-03-02    0.20    0.20",
        "--------------------------",
        "            (4.80)",
    ]


def test_register_has_columns_of_ten():
    assert journal.format_register([(Date(2024, 3, 1), 1, 1)]).splitlines()[0] == "2024-03-01      0.01      0.01"


def test_register_may_be_empty():
    assert journal.format_register([]) == ""
