r"""The answer that a response names, and when two answers are the same.

The answer of a response is what follows its last ``Answer:``, ``answer is``, ``\boxed{`` or
``####``. Policies write anything: every step here takes time linear in the text.
"""

import re

_NAMED = re.compile(r"\banswer\b\**\s*(?::|is\b:?)\**\s*(?P<answer>.+)", re.IGNORECASE)
_HASHES = re.compile(r"####\s*(?P<answer>.+)")
_BRACES = re.compile(r"(?P<boxed>\\boxed\s*)?\{|\}")
# No two parts of it can match the same character, so that it never goes back.
_NUMBER = re.compile(r"(?P<sign>[-+]?)(?P<whole>\d*)(?:\.(?P<part>\d*))?(?:[\s%]|[^\W\d_])*")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")


def extracted_answer(text: str) -> str | None:
    """Return the last answer that a response names, or None where it names none."""
    found: list[tuple[int, str]] = [
        (match.start(), match["answer"])
        for pattern in (_NAMED, _HASHES)
        for match in pattern.finditer(text)
    ]
    if (boxed := _last_boxed(text)) is not None:
        found.append(boxed)
    return max(found)[1] if found else None


def normalised(answer: str) -> str:
    """Return an answer's canonical form: numbers by value, without unit or thousands separators."""
    bare = _THOUSANDS.sub("", answer.strip().strip("*$ ").rstrip(".!").strip("*$ "))
    match = _NUMBER.fullmatch(bare)
    if match and (match["whole"] or match["part"]):
        return _decimal(match["sign"], match["whole"], match["part"] or "")
    return " ".join(bare.casefold().split())


def is_correct(text: str, reference: str) -> bool:
    """Say whether the response's last answer equals the reference after normalisation."""
    answer = extracted_answer(text)
    return answer is not None and normalised(answer) == normalised(reference)


def _decimal(sign: str, whole: str, part: str) -> str:
    digits, fraction = whole.lstrip("0") or "0", part.rstrip("0")
    minus = "-" if sign == "-" and (digits != "0" or fraction) else ""
    return f"{minus}{digits}.{fraction}" if fraction else f"{minus}{digits}"


def _last_boxed(text: str) -> tuple[int, str] | None:
    r"""Return start and content of the last ``\boxed{…}`` whose brace is closed."""
    open_: list[tuple[int, int, bool]] = []
    last: tuple[int, str] | None = None
    for match in _BRACES.finditer(text):
        if match[0] != "}":
            open_.append((match.start(), match.end(), match["boxed"] is not None))
        elif open_:
            start, content, boxed = open_.pop()
            if boxed and (last is None or start > last[0]):
                last = (start, text[content : match.start()])
    return last
