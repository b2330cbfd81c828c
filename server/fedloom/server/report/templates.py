"""How the pages' templates are read and what they write: numbers for people, and drawings."""

from importlib.resources import files
from math import exp
from typing import TYPE_CHECKING

from fedloom.server.report.figures import in_cell, in_digits, in_unit
from fedloom.server.report.headline import in_bytes, in_percent, in_points
from fedloom.shared.words import count

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_PAGES = "fedloom.server.report.pages"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def page_text(name: str) -> str:
    """A page's part, or its style, as it lies beside the code."""
    return (files(_PAGES) / name).read_text("utf-8")


def environment() -> "Environment":
    """Templates of the pages by name, every value in them escaped."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    found = Environment(
        loader=FunctionLoader(page_text),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "bytes": in_bytes,
        "percent": in_percent,
        "points": lambda difference: in_points(difference).replace("-", "−"),
        "counted": count,
        "factor": _factor,
        "power": _power,
        "in_unit": in_unit,
        "in_digits": in_digits,
        "in_cell": in_cell,
        "drawn": drawing,
    }
    return found


def drawing(svg: str) -> "Markup":
    """A drawing as it goes into a page."""
    from markupsafe import Markup

    return Markup(svg)  # noqa: S704 - our own drawing; names in it are outlines, not text


def _factor(epsilon: float) -> str:
    """e to the epsilon, for people."""
    # Beyond this, digits inform nobody, and large epsilons would overflow.
    if epsilon > 20:
        return "more than 485 million"
    factor = exp(epsilon)
    return f"{factor:,.0f}" if factor >= 100 else f"{factor:.3g}"


def _power(chance: float) -> str:
    """A small number as a power of ten, with a factor where it is not 1."""
    mantissa, exponent = f"{chance:.1e}".split("e")
    ten = "10" + str(int(exponent)).translate(_SUPERSCRIPTS)
    return ten if mantissa == "1.0" else f"{mantissa} × {ten}"
