"""Make the media files with the prefix ``a_`` that part A of the starter corpus uses.

Needs Pillow for the pictures, and the programs espeak-ng and sox for the recordings.
Run it with any Python 3.10 or later; it writes into the folder ``media`` beside it.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

MEDIA = Path(__file__).resolve().parent / "media"

Lines = list[tuple[str, str]]

RECEIPTS: dict[str, Lines] = {
    "receipt_grocer": [
        ("GREENLEAF MARKET", ""),
        ("14 March 2025", ""),
        ("Milk", "1.80"),
        ("Bread", "2.40"),
        ("Apples", "3.30"),
        ("Coffee", "6.50"),
        ("TOTAL", "14.00"),
    ],
    "receipt_cafe": [
        ("CAFE LUNA", ""),
        ("2 June 2025", ""),
        ("Soup", "5.50"),
        ("Sandwich", "7.00"),
        ("Tea", "2.50"),
        ("TOTAL", "15.00"),
    ],
    "receipt_taxi": [
        ("CITY CAB", ""),
        ("Receipt 8841", ""),
        ("Airport - Hotel Astoria", ""),
        ("Fare", "32.00"),
        ("Luggage", "3.00"),
        ("TOTAL EUR", "35.00"),
    ],
    "menu_board": [
        ("LUNCH MENU", ""),
        ("Tomato soup", "4.50"),
        ("Lentil curry", "8.00"),
        ("Fish pie", "9.50"),
        ("Apple cake", "3.50"),
    ],
    "label_medicine": [
        ("PHARMACY  No. 55210", ""),
        ("Mr. Paul Hart", ""),
        ("Amoxicillin 500 mg", ""),
        ("1 capsule, 3 times a day", ""),
        ("for 7 days", ""),
        ("Take with water", ""),
    ],
    "whiteboard_fair": [
        ("SCHOOL FAIR  21 June", ""),
        ("Marta: book the hall", ""),
        ("Jon: buy paper plates", ""),
        ("Priya: print posters", ""),
        ("Budget: 250", ""),
    ],
    "table_timetable": [
        ("DEPARTURES", "platform"),
        ("09:15  Northport", "3"),
        ("09:40  Elmsford", "1"),
        ("10:05  Highgate", "5"),
    ],
    "table_shifts": [
        ("NAME", "HOURS"),
        ("Ana", "32"),
        ("Boris", "40"),
        ("Chloe", "24"),
        ("Deepak", "36"),
    ],
}

SIGNS: dict[str, tuple[list[str], str]] = {
    "sign_pool": (["SCHWIMMBAD", "GESCHLOSSEN", "Montag bis Mittwoch", "Offen ab Donnerstag 8 Uhr"], "#1f4e9c"),
    "sign_parking": (["PROHIBIDO APARCAR", "Lunes a viernes", "8:00 - 14:00", "Mercado semanal"], "#b3261e"),
}

CHARTS: dict[str, tuple[str, dict[str, int]]] = {
    "chart_tickets": ("Support tickets", {"Mon": 42, "Tue": 35, "Wed": 58, "Thu": 31, "Fri": 24}),
    "chart_budget": (
        "Monthly budget",
        {"Rent": 900, "Food": 400, "Transport": 150, "Fun": 120, "Savings": 230},
    ),
}

SPEECH: dict[str, tuple[str, str]] = {
    "voicemail_refund": ("en-us", "Karen Miles here. Order four four seven one came broken. I want a refund."),
    "voicemail_thanks": ("en-us", "Hi, this is Tom. The new phone works great. Thank you, your team was very kind."),
    "clinic_message": (
        "en-us",
        "Doctor Reed's office here. Your appointment is Tuesday, May sixth, at ten thirty. Bring your insurance card.",
    ),
    "meeting_hr": ("en-us", "Lena updates the job advert by Friday. Omar books the room. I call the two candidates."),
    "recipe_pancakes": (
        "en-us",
        "For the pancakes, two eggs, one cup of flour, one cup of milk. Rest ten minutes, then fry.",
    ),
    "train_delay": (
        "en-us",
        "Attention. The nine fifteen train to Northport is delayed by twenty five minutes. Platform three.",
    ),
    "council_es": ("es", "Aviso del ayuntamiento. Mañana martes no habrá agua de nueve a doce."),
    "lecture_plants": (
        "en-us",
        "Plants use light, water and carbon dioxide to make sugar. The waste product is oxygen.",
    ),
    "expenses_june": ("en-us", "June expenses. Hotel, two hundred and ten. Train, forty five. Meals, sixty."),
    "hotel_fr": (
        "fr",
        "Bonjour, ici l'hôtel Bellevue. Votre chambre est prête à quinze heures. Le parking coûte douze euros.",
    ),
}


def save(image: Image.Image, name: str) -> None:
    """Write a picture with few colours, so that the file stays small."""
    image.quantize(16).save(MEDIA / f"a_{name}.png", optimize=True)


def draw_lines(name: str, lines: Lines) -> None:
    """Draw a receipt, label, board or table: a text at the left and perhaps one at the right of each line."""
    font = ImageFont.load_default(22)
    image = Image.new("RGB", (360, 34 * len(lines) + 40), "white")
    pen = ImageDraw.Draw(image)
    pen.rectangle((4, 4, 355, image.height - 5), outline="black", width=2)
    for row, (left, right) in enumerate(lines):
        pen.text((20, 20 + 34 * row), left, "black", font)
        pen.text((340, 20 + 34 * row), right, "black", font, anchor="ra")
    save(image, name)


def draw_sign(name: str, lines: list[str], colour: str) -> None:
    """Draw a street sign: white words in the middle of a coloured plate."""
    font = ImageFont.load_default(26)
    image = Image.new("RGB", (420, 44 * len(lines) + 40), colour)
    pen = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        pen.text((210, 40 + 44 * row), line, "white", font, anchor="mm")
    save(image, name)


def draw_chart(name: str, title: str, bars: dict[str, int]) -> None:
    """Draw a bar chart with the value above each bar and its label below."""
    font = ImageFont.load_default(18)
    image = Image.new("RGB", (100 * len(bars) + 40, 300), "white")
    pen = ImageDraw.Draw(image)
    pen.text((image.width / 2, 20), title, "black", font, anchor="mm")
    top = max(bars.values())
    for place, (label, value) in enumerate(bars.items()):
        x, height = 70 + 100 * place, 190 * value / top
        pen.rectangle((x - 30, 260 - height, x + 30, 260), fill="#3b7dd8")
        pen.text((x, 248 - height), str(value), "black", font, anchor="mm")
        pen.text((x, 278), label, "black", font, anchor="mm")
    save(image, name)


def speak(name: str, voice: str, words: str) -> None:
    """Say the words and keep them as a mono recording of 8 kHz and 8 bits."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-s", "165", "-w", str(raw), words], check=True)
        target = MEDIA / f"a_{name}.wav"
        subprocess.run(["sox", "-G", str(raw), "-r", "8000", "-b", "8", "-c", "1", str(target)], check=True)


def main() -> None:
    """Make every file."""
    MEDIA.mkdir(exist_ok=True)
    for name, lines in RECEIPTS.items():
        draw_lines(name, lines)
    for name, (words, colour) in SIGNS.items():
        draw_sign(name, words, colour)
    for name, (title, bars) in CHARTS.items():
        draw_chart(name, title, bars)
    for name, (voice, text) in SPEECH.items():
        speak(name, voice, text)


if __name__ == "__main__":
    main()
