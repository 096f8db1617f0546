"""Words that connect, deny, point back or name a language, in seven languages; the rules planner reads them.

Words are folded: lower case, without accents. Patterns are matched against the text as it stands.
"""

from __future__ import annotations

import re


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


def _any_of(*lines: str) -> str:
    """Join alternatives written with `|`, the longest first, so that 'and then' is not read as 'and'."""
    phrases = [phrase.strip() for line in lines for phrase in line.split("|")]
    return "|".join(re.escape(phrase) for phrase in sorted(phrases, key=len, reverse=True))


# Material is not an order: what stands in quotation marks or in a fence names no sub-task.
QUOTED = re.compile(
    r'```.*?```|`[^`\n]+`|"[^"]*"|“[^”"]*[”"]|„[^“”"]*[“”"]|«[^»]*»|‘[^’]{20,}’',
    re.DOTALL,
)

THEN = _any_of(
    "and then | then | after that | afterwards | next | finally",
    "luego | después | y luego | a continuación | puis | ensuite | et puis",
    "dann | danach | anschließend | und dann | poi | quindi | infine | e poi",
    "depois | em seguida | e depois | daarna | vervolgens | en dan",
)
ALSO = _any_of(
    "and also | also | plus | as well as | separately | in addition | besides",
    "además | aparte | también | y aparte | aussi | en plus | ainsi que",
    "außerdem | sowie | zusätzlich | inoltre | anche | também | além disso | ook | daarnaast",
)
AND = _any_of("and | y | e | et | und")
LIST_MARK = r"\(?(?:\d{1,2}|[a-h])[.)]"

BOUNDARY = re.compile(
    rf"(?P<item>\n+|(?<!\w){LIST_MARK}(?=\s))|(?P<sentence>[.!?]+(?=\s|$)|;|[。？！])"
    rf"|(?P<comma>,|\s[-–—]\s|\s\+\s)"
    rf"|(?<!\w)(?:(?P<then>{THEN})|(?P<also>{ALSO})|(?P<both>{AND}))(?!\w)",
    re.IGNORECASE,
)
TAIL = re.compile(rf"(?:[\s,;.]*(?<!\w)(?:{THEN}|{ALSO}|{AND}|{LIST_MARK}))+\s*$", re.IGNORECASE)

BACK = re.compile(
    r"(?<!\w)(?:"
    + _any_of(
        "it | its | them | those | these | this | that | result | results | based on | using",
        "lo | la | eso | esto | resultado | le | les | cela | ça | résultat",
        "es | sie | das | dies | davon | daraus | ergebnis",
        "questo | risultato | isso | dele | het | dit | dat | daarvan | resultaat",
    )
    + r")(?!\w)",
    re.IGNORECASE,
)

NEGATION = _words(
    "not don dont never no without skip avoid neither nor instead",
    "nicht kein keine keinen ohne nie sin nunca",
    "ne pas sans jamais non senza mai nao sem niet geen zonder nooit",
)
NEGATION_AFTER = _words("nicht niet pas")
"""These may follow the verb that they deny."""

DEFINITE = _words(
    "the that this these those your our my its his her their",
    "der die das den dem diese dieser diesen el la los las este esta ese esa le les ce cet cette ces",
    "il lo gli questo questa o os as esse essa de het dit dat",
)
INDEFINITE = _words("a an one un una uno une ein eine einen um uma een short brief two three")
STOP = _words(
    "a an and are as at be by do for from i if in is it me my of on or our that the this to we with you your",
    "please can could would want need will have has am so then also",
)

LANGUAGES = _words(
    "english ingles inglese anglais englisch engels spanish espanol spagnolo espagnol spanisch spaans",
    "espanhol french frances francese francais franzosisch frans german aleman tedesco allemand deutsch",
    "duits alemao italian italiano italien italienisch italiaans portuguese portugues portoghese portugais",
    "portugiesisch portugees dutch holandes neerlandes olandese neerlandais niederlandisch nederlands",
    "polish polaco polnisch polonais turkish turco turkisch turc chinese mandarin japanese korean arabic",
    "russian hindi greek swedish danish norwegian finnish czech ukrainian catalan",
)
INTO = _words("in into to auf ins en al em para in naar het per zu im")
