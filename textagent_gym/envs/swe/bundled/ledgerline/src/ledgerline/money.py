"""Money as whole cents: read, written, rounded and shared without a single float."""

from __future__ import annotations

from collections.abc import Sequence


def is_whole_number(text: str) -> bool:
    """Whether a text is digits only, with commas at every thousand or nowhere."""
    head, *groups = text.split(",")
    if groups and len(head) > 3:
        return False
    return head.isdecimal() and all(len(group) == 3 and group.isdecimal() for group in groups)


def parse_amount(text: str) -> int:
    """The cents that a written amount stands for: `-1,234.5` is -123450.

    Brackets mean a negative amount, as bookkeepers write it: `(12.00)` is -1200.

    Raises:
        ValueError: The text is no amount, or is finer than a cent.
    """
    body = text.strip()
    if body.startswith("(") and body.endswith(")"):
        body = "-" + body[1:-1]
    unsigned = body[1:] if body[:1] in ("-", "+") else body
    whole, point, fraction = unsigned.partition(".")
    if not is_whole_number(whole) or len(fraction) > 2 or (point and not fraction.isdecimal()):
        raise ValueError(f"expected an amount such as -1,234.50, got {text!r}")
    cents = int(whole.replace(",", "")) * 100 + int(fraction.ljust(2, "0"))
    return -cents if body.startswith("-") else cents


def group_thousands(digits: str, separator: str = ",") -> str:
    """Digits with a separator before every third one, counted from the right."""
    first = len(digits) % 3
    groups = [digits[place : place + 3] for place in range(first, len(digits), 3)]
    if first > 0:
        groups.insert(0, digits[:first])
    return separator.join(groups)


def format_amount(cents: int, *, brackets: bool = False, blank_zero: bool = False) -> str:
    """An amount as text: -123450 is `-1,234.50`.

    Args:
        cents: The amount.
        brackets: Write a negative amount as `(1,234.50)`.
        blank_zero: Write `-` where the amount is zero.
    """
    if cents == 0 and blank_zero:
        return "-"
    whole, fraction = divmod(abs(cents), 100)
    text = f"{group_thousands(str(whole))}.{fraction:02d}"
    if cents >= 0:
        return text
    return f"({text})" if brackets else f"-{text}"


def divide_rounded(numerator: int, denominator: int) -> int:
    """The nearest whole number to a quotient; a tie goes to the even neighbour.

    Raises:
        ValueError: The denominator is not positive.
    """
    if denominator <= 0:
        raise ValueError(f"expected a positive denominator, got {denominator}")
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient % 2 == 1):
        quotient += 1
    return quotient


def share_of(cents: int, basis_points: int) -> int:
    """The part of an amount that a rate in hundredths of a percent stands for, rounded to a cent."""
    return divide_rounded(cents * basis_points, 10_000)


def split_by_weight(cents: int, weights: Sequence[int]) -> list[int]:
    """Shares that sum to the amount and are as close to the weights as whole cents allow (largest remainders).

    Raises:
        ValueError: A weight is negative, or none is positive.
    """
    total = sum(weights)
    if total <= 0 or min(weights) < 0:
        raise ValueError(f"expected weights of which none is negative and one is positive, got {list(weights)}")
    shares = [cents * weight // total for weight in weights]
    remainders = [cents * weight % total for weight in weights]
    missing = cents - sum(shares)
    for place in sorted(range(len(weights)), key=lambda place: -remainders[place])[:missing]:
        shares[place] += 1
    return shares
