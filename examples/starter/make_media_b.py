"""Make the small pictures and recordings of the starter corpus (files media/b_*).

The pictures need Pillow; the recordings need the programs espeak-ng and sox. Run without arguments.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

MEDIA = Path(__file__).resolve().parent / "media"
INK, GREY, RED, BLUE, GREEN = "#1c1c1c", "#dddddd", "#c62828", "#1a5fb4", "#2e7d32"

# name -> (espeak voice, words per minute, text)
SPEECH: dict[str, tuple[str, int, str]] = {
    "b_standup": (
        "en-us",
        175,
        "The deploy failed at nine. Omar will roll it back. Priya fixes the config by Thursday.",
    ),
    "b_tenant": ("en-us", 180, "This is Nadia Brooks, flat twelve. The boiler is leaking. Call me: 5 5 5, 0 1 4 2."),
    "b_match": ("en-gb", 175, "Full time. Rovers three, United one. Two goals by Silva, and one by Okoro."),
    "b_driver": (
        "en-us",
        175,
        "Truck seven here. I am three hours late because of snow. I have eighteen pallets on board.",
    ),
    "b_refund": ("es", 170, "Hola, soy Lucía. La lámpara llegó rota. Quiero un reembolso."),
    "b_bridge": ("en-gb", 175, "The old bridge will close in May for six weeks. The work costs two million euros."),
    "b_keys": (
        "de",
        165,
        "Guten Tag, hier ist Becker. Der Mietvertrag endet am dreißigsten Juni. Wo sind die Schlüssel?",
    ),
    "b_lab": ("en-us", 170, "Sample A, twelve milligrams. Sample B, nine milligrams. Sample C, fifteen milligrams."),
    "b_clause": (
        "en-us",
        180,
        "New version: the notice period is sixty days. The monthly fee stays nine hundred dollars.",
    ),
    "b_shelf": ("en-gb", 175, "For the shelf I need three boards at eight euros each, and glue for five euros."),
}


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font at the given size."""
    return ImageFont.load_default(size)


def canvas(width: int, height: int, ground: str = "white") -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (width, height), ground)
    return image, ImageDraw.Draw(image)


def save(image: Image.Image, name: str) -> None:
    image.quantize(32).save(MEDIA / f"{name}.png", optimize=True)


def lines(draw: ImageDraw.ImageDraw, x: int, y: int, texts: list[str], size: int = 20, fill: str = INK) -> None:
    """Write texts below each other."""
    for i, text in enumerate(texts):
        draw.text((x, y + i * (size + 10)), text, font=font(size), fill=fill)


def dashboard() -> None:
    image, draw = canvas(420, 260, "#f4f6f8")
    lines(draw, 16, 12, ["checkout-api  (production)"], 22)
    tiles = [
        ("CPU", "94 %", RED),
        ("Memory", "61 %", GREEN),
        ("Errors / min", "143", RED),
        ("Uptime", "12 days", GREEN),
    ]
    for i, (label, value, colour) in enumerate(tiles):
        x, y = 16 + (i % 2) * 200, 54 + (i // 2) * 100
        draw.rectangle((x, y, x + 188, y + 88), fill="white", outline=GREY)
        lines(draw, x + 12, y + 8, [label], 16)
        lines(draw, x + 12, y + 36, [value], 32, colour)
    save(image, "b_dashboard")


def error_dialog() -> None:
    image, draw = canvas(460, 200, "#f0f0f0")
    draw.rectangle((0, 0, 460, 34), fill=BLUE)
    lines(draw, 10, 6, ["Report tool - Error"], 18, "white")
    draw.ellipse((20, 60, 60, 100), fill=RED)
    lines(draw, 34, 64, ["!"], 26, "white")
    lines(draw, 80, 52, ["ZeroDivisionError: division by zero", "File average.py, line 7", "return total / count"], 18)
    draw.rectangle((360, 156, 440, 186), fill="white", outline=INK)
    lines(draw, 386, 160, ["OK"], 18)
    save(image, "b_error")


def floor_plan(name: str, title: str, rooms: list[tuple[str, int, tuple[int, int, int, int]]]) -> None:
    image, draw = canvas(440, 330)
    lines(draw, 20, 6, [title], 20)
    for label, area, box in rooms:
        draw.rectangle(box, outline=INK, width=4)
        lines(draw, box[0] + 10, box[1] + 10, [label, f"{area} m2"], 17)
    save(image, name)


def label() -> None:
    image, draw = canvas(380, 230, "#fff8e1")
    draw.rectangle((6, 6, 373, 223), outline=INK, width=3)
    lines(draw, 20, 16, ["OAT CRUNCH BAR"], 28, GREEN)
    lines(
        draw,
        20,
        64,
        ["Net weight: 40 g", "Contains: oats, hazelnuts, honey", "Best before: 14 March 2026", "Lot: B-2207"],
        20,
    )
    save(image, "b_label")


def parcel() -> None:
    image, draw = canvas(400, 260)
    draw.rectangle((6, 6, 393, 253), outline=INK, width=3)
    lines(
        draw,
        20,
        16,
        ["TO: Marta Kowalczyk", "12 Mill Lane, Leeds", "Parcel: PK-88310", "Weight: 7.4 kg", "Contents: 6 lamps"],
        22,
    )
    draw.rectangle((20, 190, 180, 240), fill=RED)
    lines(draw, 36, 200, ["FRAGILE"], 26, "white")
    save(image, "b_parcel")


def line_chart() -> None:
    image, draw = canvas(420, 280)
    lines(draw, 20, 8, ["Newsletter subscribers"], 20)
    values = [("Jan", 120), ("Feb", 150), ("Mar", 210), ("Apr", 190)]
    points = [(70 + i * 95, 250 - v) for i, (_, v) in enumerate(values)]
    draw.line((40, 245, 410, 245), fill=INK, width=2)
    draw.line(points, fill=BLUE, width=4)
    for (month, value), (x, y) in zip(values, points, strict=True):
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=BLUE)
        lines(draw, x + 8, y - (24 if value > 200 else -2), [str(value)], 18)
        lines(draw, x - 14, 250, [month], 18)
    save(image, "b_chart")


def bar_chart() -> None:
    image, draw = canvas(400, 280)
    lines(draw, 20, 8, ["Seedling height (cm)"], 20)
    for i, (name, value) in enumerate([("Control", 12), ("Feed A", 18), ("Feed B", 9)]):
        x = 40 + i * 120
        draw.rectangle((x, 240 - value * 10, x + 70, 240), fill=GREEN)
        lines(draw, x + 22, 214 - value * 10, [str(value)], 20)
        lines(draw, x, 246, [name], 18)
    save(image, "b_seedlings")


def scoreboard() -> None:
    image, draw = canvas(400, 200, "#101418")
    lines(draw, 40, 20, ["HAWKS"], 30, "white")
    lines(draw, 250, 20, ["LIONS"], 30, "white")
    lines(draw, 56, 70, ["78"], 60, "#ffb300")
    lines(draw, 262, 70, ["81"], 60, "#ffb300")
    lines(draw, 110, 160, ["4th quarter   0:12"], 22, "white")
    save(image, "b_scoreboard")


def poster() -> None:
    image, draw = canvas(360, 300, "#fff176")
    lines(draw, 40, 20, ["SUMMER SALE"], 38, RED)
    lines(draw, 40, 90, ["30 % off all garden tools", "until 31 July", "code SUN30"], 24)
    draw.ellipse((250, 190, 340, 280), fill="#ff9800")
    save(image, "b_poster")


def notice() -> None:
    image, draw = canvas(400, 220, "#ffeb3b")
    draw.rectangle((8, 8, 391, 211), outline=INK, width=5)
    lines(draw, 120, 24, ["ACHTUNG"], 34)
    lines(draw, 34, 92, ["Tor 3 ist bis Freitag gesperrt.", "Bitte Tor 5 benutzen."], 24)
    save(image, "b_notice")


def standings() -> None:
    image, draw = canvas(380, 220)
    rows = [("Team", "Won", "Points"), ("Kestrels", "7", "21"), ("Falcons", "5", "16"), ("Otters", "3", "10")]
    for i, row in enumerate(rows):
        y = 12 + i * 50
        draw.rectangle((10, y, 370, y + 50), fill=GREY if i == 0 else "white", outline=INK)
        for x, cell in zip((22, 180, 270), row, strict=True):
            lines(draw, x, y + 12, [cell], 22)
    save(image, "b_standings")


def speak(name: str, voice: str, speed: int, text: str) -> None:
    """Write one recording: 8 kHz, mono, 8 bits."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-w", str(raw), text], check=True)
        subprocess.run(
            ["sox", "-v", "0.85", str(raw), "-r", "8000", "-c", "1", "-b", "8", str(MEDIA / f"{name}.wav")], check=True
        )


def main() -> None:
    MEDIA.mkdir(parents=True, exist_ok=True)
    for draw_one in (
        dashboard,
        error_dialog,
        label,
        parcel,
        line_chart,
        bar_chart,
        scoreboard,
        poster,
        notice,
        standings,
    ):
        draw_one()
    floor_plan(
        "b_floorplan",
        "Flat 3B",
        [
            ("Living room", 24, (20, 40, 240, 190)),
            ("Bedroom", 15, (240, 40, 420, 190)),
            ("Kitchen", 10, (20, 190, 180, 310)),
            ("Hall", 5, (180, 190, 300, 310)),
            ("Bath", 6, (300, 190, 420, 310)),
        ],
    )
    floor_plan(
        "b_floorplan2",
        "Flat 8",
        [
            ("Living room", 20, (20, 40, 230, 190)),
            ("Bedroom 1", 12, (230, 40, 420, 170)),
            ("Bedroom 2", 10, (230, 170, 420, 310)),
            ("Kitchen", 8, (20, 190, 130, 310)),
            ("Bath", 5, (130, 190, 230, 310)),
        ],
    )
    for name, (voice, speed, text) in SPEECH.items():
        speak(name, voice, speed, text)


if __name__ == "__main__":
    main()
