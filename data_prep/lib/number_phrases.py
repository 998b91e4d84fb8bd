"""Phrases about numbers, written in two languages by num2words and babel.

    pairs = phrase_pairs("en", "de", count=22_000, seed=1)

A value (a date, an amount, ...) is drawn without regard to language, then each language writes it in its own words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_skeleton, format_time, format_timedelta
from babel.numbers import format_currency, format_decimal, format_percent
from babel.units import UnknownUnitError, format_unit
from num2words import CONVERTER_CLASSES, num2words

from one_layer_lt.text.lines import tidy

FRUITLESS_DRAWS = 20_000  # in a row: the phrases are used up

YEARS = range(1100, 2100)
DATE_YEARS = range(1950, 2050)

UNITS = (
    "length-millimeter", "length-centimeter", "length-meter", "length-kilometer", "length-inch", "length-foot",
    "length-mile", "length-light-year", "mass-gram", "mass-kilogram", "mass-ounce", "mass-pound", "mass-tonne",
    "volume-milliliter", "volume-liter", "volume-cubic-meter", "volume-gallon", "volume-cup", "volume-teaspoon",
    "area-square-meter", "area-square-kilometer", "area-square-mile", "duration-second", "duration-minute",
    "duration-hour", "duration-day", "duration-week", "duration-month", "duration-year", "duration-century",
    "speed-kilometer-per-hour", "speed-meter-per-second", "speed-mile-per-hour", "temperature-celsius",
    "temperature-fahrenheit", "energy-kilowatt-hour", "power-watt", "power-horsepower", "digital-megabyte",
    "concentr-percent",
)  # fmt: skip
CURRENCIES = ("EUR", "USD", "GBP", "CHF", "INR", "CAD", "AUD", "SEK", "DKK", "NOK", "PLN", "CZK", "NZD", "BRL", "MXN")
SYMBOLS = CURRENCIES[:5]
DATE_SKELETONS = ("MMMMd", "MMMEd", "yMMMM", "yQQQQ")
RELATIVE_UNITS = {"year": 365 * 86_400, "month": 30 * 86_400, "week": 604_800, "day": 86_400, "hour": 3_600}


class UnsupportedPhrase(Exception):
    """num2words or babel cannot write this value in this language."""


@dataclass(frozen=True)
class PhrasePair:
    kind: str
    source: str
    target: str


@dataclass(frozen=True)
class Language:
    """A language that num2words and babel both know, named by its locale code, such as `de` or `en_GB`."""

    code: str
    locale: Locale
    spoken: str  # num2words' name for it

    @staticmethod
    def known() -> list[str]:
        return [code for code in sorted(CONVERTER_CLASSES) if _locale(code)]

    @classmethod
    def find(cls, code: str) -> Language:
        """Raise LookupError for a language that either library lacks."""
        spoken = next((name for name in (code, code.partition("_")[0]) if name in CONVERTER_CLASSES), None)
        locale = _locale(code)
        if spoken is None or locale is None:
            raise LookupError(code)
        return cls(code, locale, spoken)

    def words(self, number: int | Decimal, to: str = "cardinal") -> str:
        try:
            return num2words(number, lang=self.spoken, to=to)
        # Converters meet values they were not written for with any of these.
        except (NotImplementedError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise UnsupportedPhrase(f"{self.code}: {to} {number}") from error

    def unit(self, number: int | Decimal, unit: str) -> str:
        try:
            text = format_unit(number, unit, "long", locale=self.locale)
        except UnknownUnitError as error:
            raise UnsupportedPhrase(f"{self.code}: {unit}") from error
        if unit in text:  # babel's stand-in for a missing name
            raise UnsupportedPhrase(f"{self.code}: {unit}")
        return text

    def spell(self, number: int, phrase: str) -> str:
        """The phrase with its number in words."""
        digits = format_decimal(number, locale=self.locale)
        if phrase.count(digits) != 1:
            raise UnsupportedPhrase(f"{self.code}: {phrase}")
        return phrase.replace(digits, self.words(number))

    def currency(self, amount: int | Decimal, currency: str, format_type: Any = "name") -> str:
        digits = format_type != "name" or amount != int(amount)
        return format_currency(amount, currency, locale=self.locale, format_type=format_type, currency_digits=digits)

    def date(self, day: date, form: Any) -> str:
        if form in ("long", "full"):
            return format_date(day, form, locale=self.locale)
        try:
            return format_skeleton(form, day, locale=self.locale)
        except KeyError as error:
            raise UnsupportedPhrase(f"{self.code}: {form}") from error

    def relative(self, count: int, unit: Any) -> str:
        delta = timedelta(seconds=count * RELATIVE_UNITS[unit])
        return format_timedelta(delta, granularity=unit, threshold=1e9, add_direction=True, locale=self.locale)


def _locale(code: str) -> Locale | None:
    try:
        return Locale.parse(code)
    except (UnknownLocaleError, ValueError):
        return None


# Draws: the value of a phrase, before any language.


def _whole(random: Random, digits: tuple[int, ...], low: int = 0) -> int:
    return random.randrange(low, 10 ** random.choice(digits))


def _cardinal(random: Random) -> int:
    number = _whole(random, (2, 3, 4, 5))
    # Many languages read 1984 in one way as a number and in another as a year; the others in one way only.
    return number if number not in YEARS else number + 1_000


def _fraction(random: Random, digits: tuple[int, ...]) -> Decimal:
    places = random.choice((1, 1, 2))
    tail = random.randrange(10 ** (places - 1)) * 10 + random.randrange(1, 10)  # never ends in a zero
    return _whole(random, digits) + Decimal(tail).scaleb(-places)


def _amount(random: Random) -> int | Decimal:
    return random.choice((_whole(random, (2, 3, 4), low=1), _fraction(random, (1, 2, 3))))


def _price(random: Random) -> Decimal:
    return _whole(random, (1, 2, 3, 4)) + Decimal(random.randrange(100)).scaleb(-2)


def _spelled(random: Random) -> int:
    """Below a hundred and not ending in 1 or 2: those agree in gender with the noun, which num2words does not know."""
    return random.randrange(0, 100, 10) + random.randrange(3, 10)


def _date(random: Random) -> date:
    return date(random.choice(DATE_YEARS), 1, 1) + timedelta(days=random.randrange(365))


@dataclass(frozen=True)
class Kind:
    """One kind of phrase: how often it is drawn, its value, and how a language writes the value."""

    weight: int
    draw: Callable[[Random], Any]
    write: Callable[[Language, Any], str]


KINDS = {
    "cardinal": Kind(14, _cardinal, lambda language, n: language.words(n)),
    "ordinal": Kind(8, lambda r: _whole(r, (2, 3, 4), low=1), lambda language, n: language.words(n, "ordinal")),
    "year": Kind(4, lambda r: r.choice(YEARS), lambda language, n: language.words(n, "year")),
    "decimal": Kind(8, lambda r: _fraction(r, (1, 2)), lambda language, n: language.words(n)),
    "percent": Kind(
        4,
        lambda r: _fraction(r, (1, 2)),
        lambda language, n: format_percent(n / 100, locale=language.locale, decimal_quantization=False),
    ),
    "date": Kind(8, lambda r: (_date(r), "long"), lambda language, value: language.date(*value)),
    "date_weekday": Kind(12, lambda r: (_date(r), "full"), lambda language, value: language.date(*value)),
    "date_part": Kind(6, lambda r: (_date(r), r.choice(DATE_SKELETONS)), lambda language, value: language.date(*value)),
    "relative": Kind(
        4,
        lambda r: (r.randrange(1, 60) * r.choice((-1, 1)), r.choice(tuple(RELATIVE_UNITS))),
        lambda language, value: language.relative(*value),
    ),
    "time": Kind(
        4,
        lambda r: time(r.randrange(24), r.randrange(60)),
        lambda language, value: format_time(value, "short", locale=language.locale),
    ),
    "quantity": Kind(12, lambda r: (_amount(r), r.choice(UNITS)), lambda language, value: language.unit(*value)),
    "quantity_words": Kind(
        8,
        lambda r: (_spelled(r), r.choice(UNITS)),
        lambda language, value: language.spell(value[0], language.unit(*value)),
    ),
    "currency": Kind(
        4,
        lambda r: (_price(r), r.choice(SYMBOLS), "standard"),
        lambda language, value: language.currency(*value),
    ),
    "currency_name": Kind(
        6, lambda r: (_amount(r), r.choice(CURRENCIES)), lambda language, value: language.currency(*value)
    ),
    "currency_words": Kind(
        4,
        lambda r: (_spelled(r), r.choice(CURRENCIES)),
        lambda language, value: language.spell(value[0], language.currency(*value)),
    ),
}


def write(kind: str, value: Any, language: Language) -> str:
    return tidy(KINDS[kind].write(language, value))


def phrase_pairs(source: str, target: str, count: int, seed: int) -> list[PhrasePair]:
    """`count` pairs in random order; no source twice, and none that has a second translation.

    Raises LookupError for an unknown language and ValueError where there are not so many distinct pairs.
    """
    languages = Language.find(source), Language.find(target)
    random = Random(int(hashlib.sha256(f"numbers {seed}".encode()).hexdigest(), 16))
    kinds, weights = list(KINDS), [kind.weight for kind in KINDS.values()]
    pairs: dict[str, PhrasePair] = {}
    ambiguous: set[str] = set()
    fruitless = 0
    while len(pairs) < count:
        if fruitless == FRUITLESS_DRAWS:
            raise ValueError(f"{source}-{target} has no more than about {len(pairs)} distinct pairs")
        kind = random.choices(kinds, weights)[0]
        value = KINDS[kind].draw(random)
        fruitless += 1
        try:
            pair = PhrasePair(kind, *(write(kind, value, language) for language in languages))
        except UnsupportedPhrase:
            continue
        known = pairs.get(pair.source)
        if known and known.target != pair.target:
            ambiguous.add(known.source)
            del pairs[known.source]
        elif not known and pair.source not in ambiguous:
            pairs[pair.source] = pair
            fruitless = 0
    found = list(pairs.values())
    random.shuffle(found)  # kinds with few phrases were used up early
    return found
