"""Words for a person."""

from __future__ import annotations

import unicodedata

#: Unicode's categories of what moves the cursor, colours the terminal, turns the direction of the text or is no
#: character: controls, formats, surrogates (bytes of a file name that are not UTF-8), line and paragraph separators.
_NOT_SHOWN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def printable(text: object) -> str:
    """Text, such as a file's name, as one line that does no harm to a terminal and can be encoded in UTF-8."""
    return "".join(_escape(sign) if _is_harmful(sign) else sign for sign in str(text))


def utf8(text: object) -> str:
    r"""Text, such as a file's name, in which bytes that are not UTF-8 are written as `\xff`."""
    return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _is_harmful(sign: str) -> bool:
    # Words of Persian and of India, and pictures of several signs, have joiners in them.
    return unicodedata.category(sign) in _NOT_SHOWN and sign not in "\u200c\u200d"


def _escape(sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":
        return f"\\x{ord(sign) - 0xDC00:02x}"
    return sign.encode("unicode_escape").decode("ascii")


def clock(seconds: float) -> str:
    """`m:ss`, `h:mm:ss` from an hour on, hours alone from 100 on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 100:
        return f"{hours} h"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
