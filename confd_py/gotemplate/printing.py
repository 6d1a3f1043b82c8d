"""Values as Go's fmt prints them without being told how: `%v`, print, println, and what an action puts out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from confd_py.gotemplate.values import is_struct


def shown(value: Any) -> str:
    """What an action puts out."""
    if type(value) is str:
        return value
    return "<no value>" if value is None else text_of(value)


def text_of(value: Any) -> str:
    """`%v`."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, complex):
        imaginary = float_text(value.imag)
        return f"({float_text(value.real)}{'' if imaginary[0] in '+-' else '+'}{imaginary}i)"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{text_of(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(text_of, value)) + "]"
    if is_struct(value):
        return "{" + " ".join(map(text_of, value)) + "}"
    return str(value)


def joined(values: Sequence[Any]) -> str:
    """Go's Sprint: a space between two values of which neither is a string."""
    out: list[str] = []
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            out.append(" ")
        out.append(text_of(value))
    return "".join(out)


def float_text(value: float, letter: str = "g", precision: int = -1) -> str:
    """strconv.FormatFloat for 64 bits; a precision of -1 takes as few digits as tell the number from all others."""
    if math.isinf(value) or math.isnan(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    low = letter.lower()
    if low in "bx":
        body = _binary(abs(value)) if low == "b" else _hexadecimal(abs(value), precision)
    else:
        body = _shortest(abs(value), low) if precision < 0 else _rounded(abs(value), low, precision)
    return sign + (body.upper() if letter.isupper() else body)


def _shortest(value: float, letter: str) -> str:
    digits, exponent = decimal_digits(value)
    plain = letter == "f" or (letter == "g" and -4 <= exponent < 6)
    return _fixed(digits, exponent) if plain else _scientific(digits, exponent)


def decimal_digits(value: float) -> tuple[str, int]:
    """The fewest digits that tell a number from all others, and the exponent behind the first of them."""
    mantissa, _, exponent = f"{value!r}".lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = whole + fraction
    power = len(whole) - 1 + int(exponent or 0)
    stripped = digits.lstrip("0")
    power -= len(digits) - len(stripped)
    stripped = stripped.rstrip("0")
    return (stripped, power) if stripped else ("0", 0)


def _fixed(digits: str, exponent: int) -> str:
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + digits
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    return whole + ("." + digits[exponent + 1 :] if len(digits) > exponent + 1 else "")


def _scientific(digits: str, exponent: int) -> str:
    fraction = "." + digits[1:] if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _rounded(value: float, letter: str, precision: int) -> str:
    if letter == "g":
        return f"{value:.{precision or 1}g}"
    return f"{value:.{precision}{letter}}"


def _binary(value: float) -> str:
    """A whole mantissa and the power of two that it is multiplied by."""
    mantissa, exponent = math.frexp(value)
    power = max(exponent - 53, -1074) if value else -1074
    return f"{int(math.ldexp(mantissa, exponent - power))}p{power:+d}"


def _hexadecimal(value: float, precision: int) -> str:
    """One digit, and behind the point as many as are asked for, or as needed (-1)."""
    if not value:
        return "0x0" + ("." + "0" * precision if precision > 0 else "") + "p+00"
    mantissa, exponent = math.frexp(value)
    whole = int(math.ldexp(mantissa, 53))  # 53 bits: one, and 13 digits behind it
    if 0 <= precision < 13:
        whole = round(whole / (1 << (52 - 4 * precision))) << (52 - 4 * precision)
    exponent += whole.bit_length() - 54
    digits = f"{whole:x}"[1:14]
    fraction = digits.rstrip("0") if precision < 0 else digits[:precision].ljust(precision, "0")
    power = f"{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    return f"0x1{'.' if fraction else ''}{fraction}p{power}"
