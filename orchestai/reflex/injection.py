# ruff: noqa: E501 - an expression that is broken into pieces is harder to check than a long line
"""Patterns that are certain: nobody writes them to a model but to take it over.

They look for orders, not for words: "Ignore all previous instructions" is refused, "How do I make git ignore the
previous commit?" and a quoted example are not. What is less certain is left to the learned score.
"""

from __future__ import annotations

from orchestai.reflex.normalise import disguises, plain_lower
from orchestai.reflex.scanner import Engine, PatternScanner

# Where an order can begin: at the start, after a sentence, or after a word that leads into one.
# A quotation mark is not among them: what is quoted is mentioned, not said.
_START = r"(?:^|[.!?:;,\]\)\}>*|/-] ?|\b(?:please|now|then|and|but|just|instead|actually|first|must|bitte|nun) )"
_FILL = (
    r"(?:(?:please|all|any|every|everything|each|of|the|your|my|our|these|those|this|that|about|and|or|other) ){0,5}"
)
_DROP = (
    r"(?:ignore|ignoring|disregard|disregarding|forget|neglect|override|bypass|discard|dismiss|drop|abandon|skip|"
    r"set aside|pay no attention to|do not follow|don't follow|stop following|do not obey)"
)
_PRIOR = (
    r"(?:previous|previously given|prior|above|preceding|earlier|former|foregoing|initial|original|existing|"
    r"current|past|system|safety|hidden|given)"
)
_NOUN = (
    r"(?:instructions?|directions|directives?|prompts?|commands?|orders|rules|guidelines|constraints|polic(?:y|ies)|"
    r"restrictions|programming|context|tasks|assignments|training)"
)
_OWN = r"(?:instructions|directives|prompts?|orders|rules|guidelines|programming|restrictions|training)"
_BARE = r"(?:instructions|directives|rules|guidelines|assignments)"
_SAY = r"(?:print|show|reveal|output|repeat|display|tell|give|write|return|expose|leak|share|translate|send|recite)"
_DEEP = (
    r"(?:full|entire|complete|initial|original|hidden|secret|system|exact|confidential|own|internal|whole|developer)"
)

PATTERNS: dict[str, str] = {
    "drop-instructions": rf"{_START}{_DROP} {_FILL}{_PRIOR} (?:(?:and|or|,|{_PRIOR}) ){{0,3}}(?:\S+ )?{_NOUN}\b",
    "drop-own-rules": rf"{_START}{_DROP} (?:all |any |every |each )?(?:of )?(?:your|thy) (?:{_DEEP} |previous )*{_OWN}\b",
    "drop-all-rules": rf"{_START}{_DROP} (?:about )?all (?:of )?(?:the |these |those )?{_BARE} ?(?:$|[.!,;:]|and\b|you\b|that you\b|given\b|above\b|before\b)",
    "drop-above": rf"{_START}(?:ignore|disregard|forget) (?:about )?(?:all |everything |anything )?(?:that is |that was |of )?(?:the )?(?:text )?above(?: and|[.,;!:]|$)",
    "drop-before": rf"{_START}(?:ignore|disregard|forget) (?:about )?(?:everything|anything|all)(?: that)? (?:before|above|you (?:know(?! about)|were|have been|had been|got|learned)|i (?:said|told)|we (?:said|discussed)|was said|said)\b",
    "drop-what-you-got": rf"{_START}{_DROP} {_FILL}{_NOUN} (?:that )?(?:you (?:got|have|had|were|received)|given to you|i gave you|from before|before this)\b",
    "show-prompt": rf"{_START}{_SAY} (?:me |us |out |back |again )*(?:all |of |the )*(?:your |the )(?:{_DEEP} )*(?:system (?:prompt|message|instructions?)|prompt texts?|hidden (?:prompt|instructions?)|initial (?:prompt|instructions?)|secret (?:prompt|instructions?))\b",
    "show-own-prompt": rf"{_START}{_SAY} (?:me |us |out )*(?:all |of )*your (?:{_DEEP} )*prompts?\b",
    "repeat-above": rf"{_START}(?:repeat|print|output|copy|recite|return) (?:me |back |all |of |everything |the |exact |entire |full )*(?:(?:text|words|content|prompt|instructions|message) )?(?:that (?:is|stands|comes|was written) )?(?:above|before) this (?:line|message|sentence|point|text)\b",
    "no-limits-persona": r"\b(?:act|pretend|behave|respond|answer|roleplay|role-play|you are now|you will be) (?:as |to be |like |in )*(?:an? |the )*(?:\w+ ){0,3}(?:unrestricted|unfiltered|uncensored|jailbroken|amoral|unaligned) (?:\w+ ){0,2}(?:ai|model|assistant|bot|chatbot|version|mode|persona)\b",
    "do-anything-now": r"\b(?:dan|stan|ai|model|chatbot|bot|which|that|who)\b.{0,60}\bdo anything now\b",
    "mode-switch": r"\b(?:chat ?gpt|gpt-?\w*|assistant|model|ai) (?:with|in) (?:dan|developer|jailbreak|god|unrestricted) mode\b",
    "from-now-no-rules": rf"{_START}from now on,? (?:you|chatgpt)\b.{{0,80}}\b(?:without (?:any )?|no (?:longer )?(?:bound|have)?(?: by)? ?(?:any )?)(?:restrictions|rules|filters|limits|limitations|ethic\w*|moral\w*|censorship|guidelines)\b",
    "template-token": r"<\|im_start\|> ?system|<<sys>>.{0,400}<</sys>>|\[system\]\(#\w*\)",
    "de-drop": r"\b(?:ignorier\S*|vergiss|vergesst|vergessen sie|missacht\S*)(?: (?:bitte|sie|nun|jetzt|alle|alles|die|deine|ihre|s\S*mtliche|von|der|den)){0,5} (?:(?:vorherig|bisherig|vorangehend|vorangegangen|vorig|obig|fr\S{1,2}her|vorhergehend|urspr\S{1,2}nglich)\S* (?:\S+ )?(?:anweisung|befehl|instruktion|anordnung|auftr|aufgabe|angabe|regel|vorgabe)|(?:deine|ihre|alle) (?:\S+ )?(?:anweisungen|instruktionen|auftr\S{1,2}ge|vorgaben))",
    "de-all-before": r"(?:^|[.!?:,] ?)vergiss(?: bitte| nun| jetzt)? alles (?:davor|gesagte|vorherige|bisherige|was (?:du|ich|wir|dir))",
    "de-show-prompt": r"\b(?:zeig\S*|gib|nenne|verrate|wiederhole)(?: mir| uns)? (?:alle |all )?(?:deine[nr]? |den |dein )(?:\S+ )?(?:system-? ?prompt|prompt-? ?text|prompt)\S*",
    "es-drop": r"\b(?:olvid[ae]|ignor[ae]|olvide todas)(?: por favor)?(?: todas)? ?(?:las |tus |sus )(?:instrucciones|reglas|\S{1,2}rdenes)\b",
    "fr-drop": r"\b(?:oublie[zr]?|ignore[zr]?)(?: toutes)? ?(?:les |tes |vos |ces )(?:instructions|consignes|r\S{1,2}gles|directives) (?:pr\S+dentes|ci-dessus|ant\S+rieures|et|donn\S+)|\b(?:oublie[zr]?|ignore[zr]?) toutes (?:les |tes |vos )(?:instructions|consignes|r\S{1,2}gles|directives)",
    "it-drop": r"\b(?:dimentica|ignora)(?: tutte)? ?(?:le |tue )+(?:istruzioni|regole|indicazioni) (?:precedenti|ricevute|che|di sopra)",
    "pt-drop": r"\b(?:esque\S{1,2}a|ignore|ignora)(?: todas)? ?(?:as |suas |tuas )(?:instru\S+es|regras|ordens) (?:anteriores|acima|pr\S+vias)",
    "nl-drop": r"\b(?:vergeet|negeer) (?:alle )?(?:de )?(?:eerdere|vorige|bovenstaande|voorgaande) (?:instructies|regels|opdrachten|aanwijzingen)",
    "ru-drop": r"(?:забудь|забудьте|игнорируй|игнорируйте) (?:все |всё )?(?:предыдущие |прежние |свои |твои |эти )?(?:инструкции|указания|правила|команды)",
    "sh-drop": r"\b(?:zaboravi|ignori\S{1,2}i|zanemari) (?:sve )?(?:prethodne |ranije |dosada\S{1,2}nje )?(?:instrukcije|upute|naredbe|pravila|uputstva)",
    "pl-drop": r"\b(?:zignoruj|zapomnij o|ignoruj) (?:wszystkie |wszystkich )?(?:poprzedni\S* |wcze\S+niejsz\S* )(?:instrukcj\S*|polece\S*|zasad\S*)",
    "tr-drop": r"(?:\S{1,2}nceki|yukar\S+daki) (?:t\S{1,2}m |b\S{1,2}t\S{1,2}n )?(?:talimat|komut|kural)\S* (?:unut|yok say|g\S+rmezden gel)",
    "zh-drop": r"(?:忽略|无视|忘记|忘掉|不要理会|忽視|無視).{0,8}(?:之前|以上|上面|前面|先前|此前|上述|所有).{0,8}(?:指令|指示|提示词|提示|规则|命令|設定|设定)",
    "ja-drop": r"(?:これまで|以前|上記|前|今まで)の.{0,8}(?:指示|命令|ルール|プロンプト).{0,8}(?:無視|忘れ)",
    "ko-drop": r"(?:이전|앞선|위의|지금까지의).{0,8}(?:지시|명령|지침|프롬프트).{0,8}(?:무시|잊)",
    "ar-drop": r"(?:تجاهل|انس) (?:كل |جميع )?(?:التعليمات|الأوامر|القواعد)(?: السابقة| أعلاه)",
    "hi-drop": r"(?:पिछले|पिछली|उपरोक्त|पहले के) (?:सभी |सारे )?(?:निर्देश|आदेश|नियम)\S* (?:को )?(?:अनदेखा|नज़रअंदाज़|भूल)",
}


class InjectionPatterns:
    """Finds certain attempts, disguised ones as well.

    Args:
        engine: What searches.
    """

    def __init__(self, engine: Engine = "auto") -> None:
        self._scanner = PatternScanner(PATTERNS, engine=engine)
        self.engine = self._scanner.engine

    def match(self, text: str) -> str | None:
        """Return the name of a pattern that `text` matches, as it is or undisguised."""
        lowered = plain_lower(text)
        for reading in (lowered, *disguises(text, lowered)):
            names = self._scanner.names(reading)
            if names:
                return names[0]
        return None
