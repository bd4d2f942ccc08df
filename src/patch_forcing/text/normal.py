"""How a text is written before anything reads it: the same in training and in sampling."""

import re
import unicodedata
from pathlib import Path

from patch_forcing.core.errors import UserError


def normal_text(text: str) -> str:
    """On one line, with single spaces, accents joined to their letters, no control characters.

    Marks of direction and joiners of emoji stay. Raises UserError for half a character, which no
    encoding can write.
    """
    if text.isascii() and text.isprintable():  # as nearly all are: nothing to look for
        return " ".join(text.split())
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UserError(f"text {short(text)!r} holds half a character: write it anew")
    joined = unicodedata.normalize("NFC", text.removeprefix("\ufeff"))
    return " ".join("".join(c for c in joined if c.isspace() or not _is_control(c)).split())


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc"


def first_sentence(text: str) -> str:
    """Up to the first full stop, question or exclamation mark; all of it if there is none."""
    sentence = re.match(r".*?[.!?](?=\s)|.*?[。！？]", text, re.DOTALL)
    return sentence[0] if sentence else text


def short(text: str, length: int = 40) -> str:
    """Its beginning, for messages and sheets."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def lines(text: str) -> list[str]:
    """The lines of a text that hold something, whatever ends them; a mark of byte order is none."""
    parts = re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff"))
    return [part.strip() for part in parts if part.strip()]


def read_prompts(file: Path) -> list[str]:
    """A text file's prompts, one a line. Raises UserError if there are none."""
    try:
        prompts = lines(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--prompts {file} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"--prompts {file} is no UTF-8 text: save it as UTF-8") from None
    if not prompts:
        raise UserError(f"--prompts {file} holds no prompt: write one a line")
    return prompts
