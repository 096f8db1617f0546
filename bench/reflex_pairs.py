"""Pairs of instructions by rule: opposites, which must never share an answer, and paraphrases, which may."""

from __future__ import annotations

from itertools import combinations, permutations

_CITIES = ("Paris", "Rome", "Oslo", "Madrid", "Vienna", "Lisbon")
_FLIPS = (
    ("increase", "decrease"), ("before", "after"), ("buy", "sell"), ("open", "close"), ("enable", "disable"),
    ("accept", "reject"), ("encrypt", "decrypt"), ("compress", "decompress"), ("include", "exclude"),
    ("import", "export"), ("upload", "download"), ("hot", "cold"), ("largest", "smallest"), ("first", "last"),
    ("with", "without"), ("above", "below"), ("always", "never"), ("all", "none"), ("more", "less"),
    ("maximum", "minimum"), ("ascending", "descending"), ("income", "expense"), ("legal", "illegal"),
    ("safe", "unsafe"), ("possible", "impossible"), ("can", "can not"), ("must", "must not"), ("in", "out"),
    ("up", "down"), ("left", "right"), ("true", "false"), ("win", "lose"), ("love", "hate"), ("import", "delete"),
    ("yesterday", "tomorrow"), ("morning", "evening"), ("male", "female"), ("past", "future"), ("from", "to"),
)  # fmt: skip
_FRAMES = (
    "Explain how to {} the volume of the mixture in the report",
    "Should the clerk {} the request of the customer?",
    "List the steps {} the change to the system",
)
_NUMBERS = (
    ("3", "30"), ("5 mg", "5 g"), ("2024", "2042"), ("1.5", "15"), ("1,000", "1.000"), ("-4", "4"), ("10 %", "10"),
    ("$20", "€20"), ("7 days", "7 weeks"), ("two", "three"), ("10²", "102"), ("12:30", "13:20"), ("1/2", "2/1"),
    ("5 km", "5 miles"), ("100 °C", "100 °F"), ("3rd", "4th"), ("0.1", "0.01"), ("+3", "-3"), ("1e3", "1e-3"),
    ("half", "double"),
)  # fmt: skip
_ORDERS = (
    "delete old backups", "send the mail to the board", "share my address with the shop", "stop the server at night",
    "publish the draft", "remove the rows without a date", "pay the invoice of May", "use the company card",
    "answer in French", "tell the patient the result", "restart the database", "close the account",
    "merge the branch", "block the user", "print the labels",
)  # fmt: skip
_NEGATIONS = (
    ("{}", "do not {}"), ("{}", "never {}"), ("{}", "don't {}"), ("please {}", "please never {}"),
    ("why should we {}?", "why should we not {}?"), ("{}", "{} is forbidden, explain why"),
)  # fmt: skip
_ROLES = (
    ("Is {} taller than {}?", ("Anna", "Ben", "Carla", "David")),
    ("Did {} defeat {} in the final?", ("Spain", "Brazil", "Japan")),
    ("Convert 100 {} to {}", ("euros", "dollars", "yen")),
    ("Translate this letter from {} into {}", ("German", "French", "Polish")),
)
_LETTER_CASE = (
    ("Tell us about the history of US law", "Tell US about the history of us law"),
    ("Translate \"Stop\" into Latin", "Translate \"Go\" into Latin"),
    ("How do I polish silver?", "How do I Polish silver?"),
    ("What does Vitamin A do?", "What does vitamin do?"),
    ("Delete the file.", "Delete the file?"),
    ("Don't stop.", "Don't, stop."),
    ("No, delete it", "No delete it"),
    ("Run `rm a`", "Run `rm b`"),
    ("Who is May?", "Who is may?"),
    ("Let the dog bite the man", "Let the man bite the dog"),
    ("Only I love you", "I love only you"),
    ("Add salt, then sugar", "Add sugar, then salt"),
    ("Not all birds fly, explain", "All birds fly not, explain"),
)  # fmt: skip


def opposite_pairs() -> list[tuple[str, str]]:
    """Return pairs whose right answers differ."""
    pairs: list[tuple[str, str]] = []
    for start, end in permutations(_CITIES, 2):
        if start < end:
            pairs.append((f"Find a train from {start} to {end}", f"Find a train from {end} to {start}"))
            pairs.append((f"Find a train from {start} to {end}", f"find a train from {end.lower()} to {start.lower()}"))
    for frame in _FRAMES:
        pairs += [(frame.format(first), frame.format(second)) for first, second in _FLIPS]
    for first, second in _NUMBERS:
        pairs.append((f"Write about {first} for the lesson", f"Write about {second} for the lesson"))
        pairs.append((f"Is {first} enough?", f"Is {second} enough?"))
    for yes, no in _NEGATIONS:
        pairs += [(yes.format(order), no.format(order)) for order in _ORDERS]
    for frame, names in _ROLES:
        pairs += [(frame.format(a, b), frame.format(b, a)) for a, b in combinations(names, 2)]
    pairs += _LETTER_CASE
    return pairs + [(second, f"Could you please {first[0].lower()}{first[1:]}") for first, second in pairs[:60]]


_BASES = (
    "summarise the attached report in five lines", "explain how vaccines work", "write a short poem about autumn",
    "translate the letter into French", "list three advantages of solar power", "compare Python and Java for beginners",
    "describe the water cycle", "create a packing list for a week in Norway", "find the errors in this paragraph",
    "draft a reply to the customer", "calculate the average of 4, 8 and 15", "convert 20 kilometres to miles",
    "show the capital of Australia", "sort these names by length", "suggest a title for the article",
)  # fmt: skip
_WAYS = (
    "{}.", "Please {}.", "Could you {}?", "Can you please {}?", "Hi, could you please {}? Thanks!", "{}, please",
    "I would like you to {}", "Hello! Please {}. Thank you very much.",
)  # fmt: skip
_REWORDED = (
    ("What is the capital of France?", "What's the capital of France?"),
    ("What is the capital of France?", "Which city is the capital of France?"),
    ("What is the capital of France?", "Tell me the capital of France."),
    ("How do I sort a list in Python?", "How can I sort a list in Python?"),
    ("How do I sort a list in Python?", "How to sort a list in Python"),
    ("How do I sort a list in Python?", "What is the way to sort a list in Python?"),
    ("How do I sort a list in Python?", "In Python, how do I sort a list?"),
    ("Summarise this text", "Summarize the text"),
    ("Summarise this text", "Give me a summary of this text"),
    ("Summarise this text", "Sum up this text, please"),
    ("Summarise this text", "Can you shorten this text?"),
    ("Write an e-mail to my landlord about the heating", "Write an email to my landlord about the heating"),
    ("Write an e-mail to my landlord about the heating", "Compose an email about the heating to my landlord"),
    ("List three advantages of solar power", "Name 3 advantages of solar power"),
    ("List three advantages of solar power", "List 3 benefits of solar energy"),
    ("Why don't cats like water?", "Why do cats not like water?"),
    ("Analyse the colours of this logo", "Analyze the colors of this logo"),
    ("Recommend a film for the evening", "Recommend a movie for the evening"),
    ("Where can I buy a bike?", "Where can I purchase a bicycle?"),
    ("Explain photosynthesis to a child", "Explain to a child what photosynthesis is"),
)


def paraphrase_pairs() -> list[tuple[str, str]]:
    """Return pairs whose right answers are the same."""
    pairs = []
    for base in _BASES:
        written = f"{base[0].upper()}{base[1:]}"
        for way in _WAYS:
            text = way.format(base)
            pairs.append((written, f"{text[0].upper()}{text[1:]}"))
    return pairs + list(_REWORDED)
