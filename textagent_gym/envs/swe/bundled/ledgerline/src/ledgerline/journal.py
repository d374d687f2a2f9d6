"""Transactions and accounts: a journal read from text, its balances, and the reports that bookkeepers ask for.

Accounts are paths such as `assets:bank:savings`. Money that flows into an account is positive, money that leaves it is
negative, and the postings of one transaction sum to zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ledgerline.dates import Date, is_within_period, parse_date
from ledgerline.money import format_amount, parse_amount

CREDIT_ROOTS = ("equity", "income", "liabilities")
"""Accounts that grow by negative postings."""


@dataclass(frozen=True)
class Posting:
    """Cents that flow into an account, or out of it where negative."""

    account: str
    cents: int


@dataclass(frozen=True)
class Transaction:
    """Postings of one day that sum to zero."""

    date: Date
    payee: str
    postings: tuple[Posting, ...]
    is_cleared: bool = False


def strip_comment(line: str) -> str:
    """A line without what follows a semicolon, and without spaces at its end; quotes protect a semicolon."""
    is_quoted = False
    for place, character in enumerate(line):
        if character == '"':
            is_quoted = not is_quoted
        elif character == ";" and not is_quoted:
            return line[:place].rstrip()
    return line.rstrip()


def parse_header(line: str) -> tuple[Date, str, bool]:
    """The date, the payee and whether a star says that the bank has confirmed it: `2024-03-01 * Grocer`.

    Raises:
        ValueError: There is no date or no payee.
    """
    date, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    is_cleared = rest.startswith("*")
    payee = rest[1:].strip() if is_cleared else rest
    if not payee:
        raise ValueError(f"expected a date and a payee, got {line!r}")
    return parse_date(date), payee, is_cleared


def parse_posting(line: str) -> tuple[str, int | None]:
    """The account and the cents, two spaces or more apart; None where the amount is left to the others.

    Raises:
        ValueError: There is no account, or what follows it is no amount.
    """
    account, _, amount = line.strip().partition("  ")
    if not account or account.startswith(":") or account.endswith(":"):
        raise ValueError(f"expected an account such as assets:cash, got {line!r}")
    return account, parse_amount(amount) if amount.strip() else None


def complete(entries: Iterable[tuple[str, int | None]]) -> tuple[Posting, ...]:
    """Postings that sum to zero; the one amount that may be missing is what makes them do so.

    Raises:
        ValueError: Two amounts are missing, or none is and the sum is not zero.
    """
    entries = list(entries)
    total = sum(cents for _, cents in entries if cents is not None)
    num_missing = sum(cents is None for _, cents in entries)
    if num_missing > 1:
        raise ValueError(f"expected at most one missing amount, got {num_missing}")
    if num_missing == 0 and total != 0:
        raise ValueError(f"expected postings that sum to zero, got {format_amount(total)}")
    return tuple(Posting(account, -total if cents is None else cents) for account, cents in entries)


def parse_journal(text: str) -> list[Transaction]:
    """The transactions of a journal in order of their dates: a header each, its postings indented below it.

    Raises:
        ValueError: A line cannot be read, a posting stands before any header, or a transaction does not sum to zero.
    """
    blocks: list[tuple[str, list[str]]] = []
    for line in map(strip_comment, text.splitlines()):
        if not line.strip():
            continue
        if not line.startswith((" ", "\t")):
            blocks.append((line, []))
        elif blocks:
            blocks[-1][1].append(line)
        else:
            raise ValueError(f"expected a header before the first posting, got {line!r}")
    transactions = []
    for header, lines in blocks:
        date, payee, is_cleared = parse_header(header)
        transactions.append(Transaction(date, payee, complete(map(parse_posting, lines)), is_cleared))
    return sorted(transactions, key=lambda transaction: transaction.date)


def depth(account: str) -> int:
    """How many names an account's path has; 0 for the empty path."""
    return account.count(":") + 1 if account else 0


def ancestors(account: str) -> list[str]:
    """The accounts above an account, the outermost first."""
    names = account.split(":")
    return [":".join(names[:length]) for length in range(1, len(names))]


def is_under(account: str, root: str) -> bool:
    """Whether an account is `root` or below it; everything is below the empty root."""
    return not root or account == root or account.startswith(root + ":")


def natural_amount(account: str, cents: int) -> int:
    """An amount as its reader expects it: income, debts and equity grow upwards."""
    root = account.split(":")[0]
    return -cents if root in CREDIT_ROOTS else cents


def balances(transactions: Iterable[Transaction], *, only_cleared: bool = False) -> dict[str, int]:
    """The sum of each account's postings in cents, in order of the names; accounts that come out at zero are kept."""
    totals: dict[str, int] = {}
    for transaction in transactions:
        if only_cleared and not transaction.is_cleared:
            continue
        for posting in transaction.postings:
            totals[posting.account] = totals.get(posting.account, 0) + posting.cents
    return dict(sorted(totals.items()))


def balances_with_parents(totals: Mapping[str, int]) -> dict[str, int]:
    """Balances in which each account also holds what is below it, in order of the names."""
    sums: dict[str, int] = {}
    for account, cents in totals.items():
        for name in [*ancestors(account), account]:
            sums[name] = sums.get(name, 0) + cents
    return dict(sorted(sums.items()))


def select(
    transactions: Iterable[Transaction],
    *,
    root: str = "",
    payee: str = "",
    first: Date | None = None,
    last: Date | None = None,
) -> list[Transaction]:
    """The transactions of a period that touch an account under `root` and whose payee contains a text in any case."""
    return [
        transaction
        for transaction in transactions
        if is_within_period(transaction.date, first, last)
        and payee.lower() in transaction.payee.lower()
        and any(is_under(posting.account, root) for posting in transaction.postings)
    ]


def running_totals(transactions: Iterable[Transaction], root: str, opening: int = 0) -> list[tuple[Date, int, int]]:
    """The date, change and balance after each transaction that moves money into `root` or out of it.

    Args:
        transactions: In the order in which they are to count.
        root: An account, taken with all that is below it.
        opening: Cents that were there before.
    """
    rows = []
    total = opening
    for transaction in transactions:
        change = sum(posting.cents for posting in transaction.postings if is_under(posting.account, root))
        if change != 0:
            total += change
            rows.append((transaction.date, change, total))
    return rows


def totals_by_month(transactions: Iterable[Transaction], root: str) -> dict[tuple[int, int], int]:
    """Cents that flowed into `root` and below in each `(year, month)` with a posting there."""
    totals: dict[tuple[int, int], int] = {}
    for transaction in transactions:
        month = transaction.date[:2]
        for posting in transaction.postings:
            if is_under(posting.account, root):
                totals[month] = totals.get(month, 0) + posting.cents
    return totals


def format_balances(totals: Mapping[str, int], *, max_depth: int = 0, width: int = 12) -> str:
    """A report with one line for each account, indented by its depth, amounts flush right.

    Args:
        totals: Balances in cents, as `balances_with_parents` gives them.
        max_depth: Leave out accounts that are deeper; 0 shows all.
        width: Characters of the column of amounts.
    """
    lines = []
    for account, cents in totals.items():
        level = depth(account)
        if max_depth > 0 and level > max_depth:
            continue
        name = account.rpartition(":")[2]
        lines.append(f"{format_amount(cents):>{width}}  {'  ' * (level - 1)}{name}")
    return "\n".join(lines)


def format_register(rows: Iterable[tuple[Date, int, int]], width: int = 10) -> str:
    """A report with date, change and balance in each line, and the sum of the changes in brackets below a rule."""
    lines, total = [], 0
    for date, change, balance in rows:
        lines.append(f"{date}{format_amount(change):>{width}}{format_amount(balance, blank_zero=True):>{width}}")
        total += change
    if not lines:
        return ""
    return "\n".join([*lines, "-" * (10 + 2 * width), f"{format_amount(total, brackets=True):>{10 + width}}"])
