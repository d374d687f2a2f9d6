"""A plain-text double-entry ledger: money in whole cents, dates by hand, balances and reports as pure functions."""

from ledgerline import dates, journal, money
from ledgerline.dates import Date
from ledgerline.journal import Posting, Transaction, parse_journal

__all__ = ["Date", "Posting", "Transaction", "dates", "journal", "money", "parse_journal"]
