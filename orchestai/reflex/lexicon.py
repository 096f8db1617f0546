"""Words that may differ between two instructions that mean the same. The lists are closed: what is not here counts."""

from __future__ import annotations

GREETINGS = (
    "hi there", "hello there", "hi", "hello", "hey", "good morning", "good afternoon", "good evening",
)  # fmt: skip

THANKS = (
    "thank you very much", "thank you so much", "thanks in advance", "thank you in advance", "many thanks",
    "thanks a lot", "thank you", "thanks", "cheers",
)  # fmt: skip

# Before an order; "can you swim" stays a question, because swim is not in ORDERS.
REQUESTS = (
    "i would be grateful if you could", "i would appreciate it if you could", "would it be possible for you to",
    "would you be so kind as to", "would you be able to", "are you able to", "is it possible for you to",
    "i would like you to", "i want you to", "i need you to", "i would love you to", "i would ask you to",
    "could you possibly", "can you possibly", "could you maybe", "could you", "can you", "would you", "will you",
    "your task is to", "help me to", "help me",
)  # fmt: skip

ORDERS = frozenset(
    """add analyse answer arrange brainstorm build calculate categorise change check classify clean collect compare
    compile complete compose compute condense convert correct count create debug define describe design detect develop
    discuss draft edit elaborate estimate evaluate expand explain extract fill find fix format generate give group
    identify illustrate implement improve indicate list make mark measure merge name order organise outline paraphrase
    plan predict prepare present print produce proofread propose provide rank rate recommend remove rename rephrase
    replace reply report rewrite say select show shorten simplify sketch solve sort spell state suggest sum summarise
    tell test transcribe transform translate turn verify write""".split()  # noqa: SIM905 - a list of words reads better than one of literals
)

POLITE = frozenset(["please", "kindly", "pls", "plz"])

ARTICLES = frozenset(["a", "an", "the"])

# A comma beside one of these changes the meaning: "don't stop" and "don't, stop".
TURNS = frozenset(["no", "not", "yes", "never", "nor", "none", "stop", "without", "but", "except", "only", "unless"])

QUESTION_WORDS = frozenset(
    """what who whom whose where when why how which is are was were do does did can could will would should shall may
    might must has have had am""".split()  # noqa: SIM905 - a list of words reads better than one of literals
)

CONTRACTIONS = {
    "what's": "what is", "who's": "who is", "where's": "where is", "when's": "when is", "how's": "how is",
    "that's": "that is", "there's": "there is", "here's": "here is", "it's": "it is", "he's": "he is",
    "she's": "she is", "let's": "let us", "i'm": "i am", "you're": "you are", "we're": "we are",
    "they're": "they are", "i've": "i have", "you've": "you have", "we've": "we have", "they've": "they have",
    "i'd": "i would", "i'll": "i will", "you'll": "you will", "we'll": "we will", "they'll": "they will",
    "don't": "do not", "doesn't": "does not", "didn't": "did not", "isn't": "is not", "aren't": "are not",
    "wasn't": "was not", "weren't": "were not", "can't": "can not", "cannot": "can not", "couldn't": "could not",
    "won't": "will not", "wouldn't": "would not", "shouldn't": "should not", "mustn't": "must not",
    "hasn't": "has not", "haven't": "have not", "hadn't": "had not",
}  # fmt: skip

PHRASES = {
    "how can i": "how do i", "how could i": "how do i", "how would i": "how do i", "how might i": "how do i",
    "how to": "how do i", "what is way to": "how do i",
    "sum up": "summarise", "give me": "give", "show me": "show",
    "tell me": "tell", "write me": "write", "provide me with": "give", "provide": "give", "for example": "eg",
    "e g": "eg", "for instance": "eg", "in order to": "to", "as well as": "and", "at moment": "now",
    "per cent": "%", "percent": "%", "united states of america": "usa", "united states": "usa",
    "united kingdom": "uk", "make summary of": "summarise", "give summary of": "summarise",
    "write summary of": "summarise", "create summary of": "summarise", "provide summary of": "summarise",
    "make list of": "list", "give list of": "list", "write list of": "list", "create list of": "list",
    "a lot of": "many", "lots of": "many",
}  # fmt: skip

_SAME = """
summarise summarize
analyse analyze
organise organize
categorise categorize
optimise optimize
recognise recognize
visualise visualize
prioritise prioritize
minimise minimize
maximise maximize
customise customize
normalise normalize
colour color
colours colors
favourite favorite
behaviour behavior
neighbour neighbor
labour labor
honour honor
flavour flavor
centre center
theatre theater
metre meter
metres meters
litre liter
litres liters
km kilometre kilometer kilometres kilometers
catalogue catalog
dialogue dialog
programme program
grey gray
tyre tire
cheque check
licence license
defence defense
travelling traveling
cancelled canceled
modelling modeling
labelled labeled
email e-mail
emails e-mails
online on-line
website web-site
ok okay
tv television
bike bicycle
phone telephone
film movie
films movies
buy purchase
kids children
kid child
whole entire
begin start
beginning start
versus vs
doctor physician
lawyer attorney
2 two
3 three
4 four
5 five
6 six
7 seven
8 eight
9 nine
10 ten
11 eleven
12 twelve
eur euro euros €
kg kilogram kilograms kilogramme kilogrammes
"""

SYNONYMS = {word: line.split()[0] for line in _SAME.strip().splitlines() for word in line.split()}

# In lower case these are another word.
CASE_MATTERS = frozenset(
    """us it who polish turkey may march august china japan apple amazon windows word excel python java go rust swift
    ruby mark will bill rich frank grace hope faith joy rose lily iris amber violet pat sue bob jack drew rob chip dean
    reading nice cork bath orange lima jordan chad georgia mali guinea cuba hungary greece wales job said ms mercury
    mars saturn earth sun lent catholic democrat republican conservative labour liberal green general major""".split()  # noqa: SIM905 - a list of words reads better than one of literals
)
